//! The templates of the repository against the schemas of what reads them. That their commands work is a test of `danlu-cli`.

use serde_json::{Value, json};
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("reads")
}

/// What the schema says against the document, a line each.
fn complaints(schema: &str, document: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(&read(schema)).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_job_is_one_that_kubernetes_takes() {
    let schema = "tests/schemas/job-batch-v1.json";
    let mut job: Value = serde_json::from_str(&read("../../templates/kubernetes-job.json")).expect("JSON");
    assert_eq!(complaints(schema, &job), Vec::<String>::new());
    // A field that there is not, a wrong type, a missing part are found, at any depth.
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    container["comand"] = json!(["danlu"]);
    container.as_object_mut().expect("an object").remove("name");
    job["spec"]["parallelism"] = json!("eight");
    let said = complaints(schema, &job).join("\n");
    for expected in ["comand", "\"name\" is a required property", "/spec/parallelism"] {
        assert!(said.contains(expected), "{said}");
    }
}

/// The `#SBATCH --key=value` lines of a script; Slurm reads them up to the first command, and ends a line at a comment.
fn sbatch(script: &str) -> Value {
    let lines = script.lines().take_while(|line| line.is_empty() || line.starts_with('#'));
    let options = lines.filter_map(|line| line.strip_prefix("#SBATCH ")).map(|line| {
        let option = line.split(" #").next().unwrap_or_default().trim();
        let (key, value) = option.strip_prefix("--").and_then(|o| o.split_once('=')).expect("--key=value");
        (key.to_owned(), Value::from(value))
    });
    Value::Object(options.collect())
}

#[test]
fn the_array_has_options_that_sbatch_takes() {
    let schema = "tests/schemas/slurm-array.json";
    let script = read("../../templates/slurm-array.sh");
    let header = sbatch(&script);
    assert_eq!(header["array"], "0-15", "{header}");
    assert_eq!(complaints(schema, &header), Vec::<String>::new());
    let count = script.matches("#SBATCH").count();
    assert_eq!(header.as_object().map(|o| o.len()), Some(count), "no option stands after the first command");
    let wrong = script.replace("--signal=B:INT@120", "--signal=INT:120").replace("--mem=", "--memory=");
    let said = complaints(schema, &sbatch(&wrong)).join("\n");
    assert!(said.contains("/signal") && said.contains("memory"), "{said}");
}
