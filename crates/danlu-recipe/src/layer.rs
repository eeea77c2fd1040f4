//! A layer: what one source (preset, file, command line) says about some of the keys.

use serde_json::Value;

use crate::advise::Choice;
use crate::error::RecipeError;
use crate::origin::Origin;
use crate::path::Path;
use crate::toml_tree::{Located, Node};

/// One `key = value` of a [`Layer`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) path: Path,
    /// Never a table with keys (those are spread over several entries); an array comes whole.
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// The origins of the values inside an array.
    pub(crate) inner: Vec<(Path, Origin)>,
}

/// What one source says: values for some of the keys, each with its place. Later layers win over earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    pub(crate) entries: Vec<Entry>,
}

impl Layer {
    /// A layer that says nothing.
    pub fn new() -> Self {
        Layer::default()
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML (with line and column). Unknown keys and bad values are
    /// reported by [`crate::resolve`].
    pub fn from_file(path: &std::path::Path) -> Result<Self, RecipeError> {
        let file = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| RecipeError::Read { file: file.clone(), error })?;
        Layer::from_toml(&text, &file)
    }

    /// Reads the text of a recipe; `file` is how messages name it.
    ///
    /// # Errors
    /// When the text is not TOML.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, RecipeError> {
        let tree = Located::parse(text, file)?;
        let mut layer = Layer::new();
        layer.push_located(Path::root(), &tree, file);
        Ok(layer)
    }

    pub(crate) fn push_located(&mut self, path: Path, located: &Located, file: &str) {
        let origin = |line| Origin::File { file: file.to_owned(), line };
        match &located.node {
            Node::Table(fields) if !fields.is_empty() || path == Path::root() => {
                for (key, value) in fields {
                    self.push_located(path.key(key), value, file);
                }
            }
            _ => {
                let mut inner = Vec::new();
                located.leaves(&path, &mut |leaf, line| inner.push((leaf, origin(line))));
                let value = located.to_value();
                self.entries.push(Entry { path, value, origin: origin(located.line), inner });
            }
        }
    }

    /// Adds a value; a table is spread over its keys.
    pub fn set(&mut self, path: Path, value: Value, origin: Origin) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    self.set(path.key(&key), value, origin.clone());
                }
            }
            value => self.entries.push(Entry { path, value, origin, inner: Vec::new() }),
        }
    }

    /// Adds the value of an option of the command line: `("optimizer.lr", 0.1, "--lr")`.
    ///
    /// # Errors
    /// When `key` is no path.
    pub fn flag(&mut self, key: &str, value: impl Into<Value>, flag: &str) -> Result<(), RecipeError> {
        self.set(key.parse()?, value.into(), Origin::Flag { flag: flag.to_owned() });
        Ok(())
    }

    /// Adds `key=value` as `--set` takes it: the value is TOML, and a text that is not may stand without quotes
    /// (`optimizer.name=adamw`). Several can be given; the last one of a key wins.
    ///
    /// # Errors
    /// When there is no `=` or the key is no path.
    pub fn set_flag(&mut self, text: &str) -> Result<(), RecipeError> {
        let (key, value) = text.split_once('=').ok_or_else(|| RecipeError::NotAnAssignment {
            flag: "--set".to_owned(),
            text: text.to_owned(),
        })?;
        let path: Path = key.parse()?;
        self.set(
            path,
            crate::toml_tree::parse_value(value.trim()),
            Origin::Flag { flag: format!("--set {}", key.trim()) },
        );
        Ok(())
    }

    /// The advisor's choices as a layer.
    ///
    /// # Errors
    /// When a key of a choice is no path.
    pub fn from_choices(choices: &[Choice]) -> Result<Self, RecipeError> {
        let mut layer = Layer::new();
        for choice in choices {
            let origin = Origin::Advisor { reason: choice.reason.clone(), source: choice.source.clone() };
            layer.set(choice.key.parse()?, choice.value.clone(), origin);
        }
        Ok(layer)
    }

    /// The value that this layer gives to `key`, if it says anything about it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let path: Path = key.parse().ok()?;
        self.entries.iter().rev().find(|entry| entry.path == path).map(|entry| &entry.value)
    }

    /// Takes away what the layer says about `key` where that is `"auto"`: an experiment that looks for the value itself
    /// needs no other one first.
    pub fn remove_auto(&mut self, key: &str) {
        let Ok(path) = key.parse::<Path>() else { return };
        self.entries.retain(|entry| entry.path != path || entry.value.as_str() != Some("auto"));
    }

    /// Whether the layer says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
