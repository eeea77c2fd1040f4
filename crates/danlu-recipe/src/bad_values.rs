//! Every key of the recipe with a value of the wrong type, and with one out of its range: each is refused by name, with what was expected.

use serde_json::{Map, Value};

use crate::error::Problem;
use crate::layer::Layer;
use crate::origin::Origin;
use crate::path::{Path, Step};
use crate::recipe::Recipe;
use crate::resolve::resolve;
use crate::schema::{Field, Schema};

/// Keys that choose (`optimizer.name`), with what they choose.
type Choices = Vec<(Path, Value)>;

/// The keys of one table, with the choices that lead to it.
struct Table<'a> {
    choices: Choices,
    path: Path,
    fields: Vec<Field<'a>>,
}

fn tables<'a>(
    schema: &'a Schema,
    here: &'a Value,
    path: &Path,
    choices: &[(Path, Value)],
    within: &[*const Value],
    found: &mut Vec<Table<'a>>,
) {
    let target: *const Value = schema.follow(here);
    // A type inside itself (a schedule made of schedules) is not entered again.
    if within.contains(&target) {
        return;
    }
    let within = [within, &[target]].concat();
    let shape = schema.shape(here);
    if let Some(item) = shape.array.as_ref().and_then(|array| array.item(0)) {
        tables(schema, item, &path.index(0), choices, &within, found);
    }
    let Some(table) = shape.table else { return };
    let mut kinds: Vec<(Choices, Vec<Field<'a>>)> = Vec::new();
    if table.variants.is_empty() {
        kinds.push((choices.to_vec(), table.fields.clone()));
    }
    // The keys that every choice has are tried with the first.
    for (index, variant) in table.variants.iter().enumerate() {
        let common: &[Field<'a>] = if index == 0 { &table.fields } else { &[] };
        let mut chosen = choices.to_vec();
        chosen.extend(table.tag.map(|tag| (path.key(tag), Value::from(variant.name))));
        kinds.push((chosen, common.iter().chain(&variant.fields).copied().collect()));
    }
    for (chosen, fields) in kinds {
        for field in &fields {
            tables(schema, field.schema, &path.key(field.name), &chosen, &within, found);
        }
        found.push(Table { choices: chosen, path: path.clone(), fields });
    }
}

fn put(tree: &mut Value, path: &Path, value: Value) {
    let mut here = tree;
    for step in path.steps() {
        here = match step {
            Step::Key(key) => {
                if !here.is_object() {
                    *here = Value::Object(Map::new());
                }
                &mut here[key.as_str()]
            }
            Step::Index(_) => {
                if !here.is_array() {
                    *here = Value::Array(vec![Value::Null]);
                }
                &mut here[0]
            }
        };
    }
    *here = value;
}

/// The problems of a recipe that holds these values.
fn problems(table: &Table<'_>, values: &[(Path, Value)]) -> Vec<Problem> {
    let mut tree = Value::Object(Map::new());
    for (path, value) in table.choices.iter().chain(values) {
        put(&mut tree, path, value.clone());
    }
    let mut layer = Layer::new();
    layer.set(Path::root(), tree, Origin::Flag { flag: "--test".to_owned() });
    match resolve::<Recipe>(&[layer]) {
        Ok(_) => panic!("{values:?} were taken"),
        Err(error) => error.problems().to_vec(),
    }
}

fn every_table(check: impl Fn(&Schema, &Table<'_>)) -> usize {
    let schema = Schema::of::<Recipe>();
    let mut found = Vec::new();
    tables(&schema, schema.root(), &Path::root(), &[], &[], &mut found);
    found.iter().for_each(|table| check(&schema, table));
    found.iter().map(|table| table.fields.len()).sum()
}

fn refused<'a>(problems: &'a [Problem], path: &Path) -> &'a Problem {
    let problem = problems.iter().find(|problem| problem.path == *path);
    problem.unwrap_or_else(|| panic!("`{path}` was not refused: {problems:#?}"))
}

#[test]
fn a_value_of_the_wrong_type_is_refused_at_every_key() {
    let keys = every_table(|schema, table| {
        let wrong: Vec<(Path, Value)> = table
            .fields
            .iter()
            .map(|field| {
                let takes_bool = schema.shape(field.schema).boolean;
                let value = if takes_bool { Value::from(0.5) } else { Value::from(true) };
                (table.path.key(field.name), value)
            })
            .collect();
        if wrong.is_empty() {
            return;
        }
        let problems = problems(table, &wrong);
        for (path, value) in &wrong {
            let Problem { message, origin, .. } = refused(&problems, path);
            assert!(message.starts_with(&format!("`{path} = {value}`: expected ")), "{message}");
            assert!(message.contains(", found ") || message.contains('"'), "{message}");
            assert!(origin.is_some(), "{message}");
        }
    });
    assert!(keys > 300, "{keys} keys");
}

#[test]
fn a_number_out_of_its_range_is_refused_at_every_key_with_the_range() {
    let mut ends = 0;
    for low in [true, false] {
        let count = std::cell::Cell::new(0);
        every_table(|schema, table| {
            let mut beyond = Vec::new();
            for field in &table.fields {
                let shape = schema.shape(field.schema);
                let Some(range) = shape.number.or(shape.integer) else { continue };
                let bound = if low { range.min.map(|min| min - 1.0) } else { range.max.map(|max| max + 1.0) };
                let Some(value) = bound else { continue };
                let value =
                    if shape.number.is_none() { Value::from(value as i64) } else { Value::from(value) };
                beyond.push((table.path.key(field.name), value, range.words().unwrap_or_default()));
            }
            if beyond.is_empty() {
                return;
            }
            let values: Vec<(Path, Value)> = beyond.iter().map(|(p, v, _)| (p.clone(), v.clone())).collect();
            let problems = problems(table, &values);
            for (path, _, words) in &beyond {
                let message = &refused(&problems, path).message;
                assert!(
                    message.contains("is out of range: expected") && message.contains(words),
                    "{message}"
                );
            }
            count.set(count.get() + beyond.len());
        });
        ends += count.get();
    }
    assert!(ends > 200, "{ends} ends of ranges");
}
