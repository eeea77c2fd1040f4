//! The finders on the embedded data: what they find is usable, and nothing that they are given changes.

use danlu_nn::{Engine, EngineConfig};
use danlu_recipe::{Layer, Preset};
use danlu_train::find::{Batches, RangeConfig, find_batch, find_lr, range_test};
use danlu_train::{Prepared, Silent, TrainRequest};

fn prepared(more: &str) -> Prepared {
    prepared_with("32", "0.05", more)
}

fn prepared_with(batch_size: &str, lr: &str, more: &str) -> Prepared {
    let recipe = format!(
        "data.limit = 0.1\nnetwork = {{ name = \"small\", width = 8 }}\ntrain.epochs = 2\ntrain.batch_size = {batch_size}\n\
         optimizer = {{ name = \"sgd\", lr = {lr}, momentum = 0.9 }}\nschedule.name = \"constant\"\n{more}"
    );
    let layers = vec![Layer::from_toml(&recipe, "test").expect("parses")];
    let request = TrainRequest { data: "demo".into(), preset: Preset::Quick, layers, command: String::new() };
    Prepared::new(&request).expect("prepares")
}

#[test]
fn a_range_test_leaves_the_engine_bit_for_bit_as_it_was() {
    let prepared = prepared("train.ema = 0.9");
    let recipe = &prepared.recipe.recipe;
    let mut engine = Engine::new(prepared.graph().expect("builds"), &EngineConfig::default()).expect("opens");
    engine.initialize(&recipe.init, 3).expect("draws");
    engine.ema_start();
    let before = (engine.export_state(), engine.trainable().to_vec());
    let mut batches = Batches::new(&prepared, 32).expect("loads");
    let config = RangeConfig { steps: 40, start: 1e-4, ..RangeConfig::default() };
    let seen = range_test(&mut engine, recipe, &mut batches, &config).expect("runs");
    assert!(seen.lr.len() > 10 && seen.lr.len() == seen.smoothed.len());
    assert!(before == (engine.export_state(), engine.trainable().to_vec()));
}

#[test]
fn the_found_learning_rate_is_one_that_trains() {
    let found = find_lr(&prepared(""), &mut Silent).expect("finds");
    assert!((1e-3..2.0).contains(&found.lr), "{found:?}");
    assert!(found.trials.len() >= 3 && found.trials.iter().all(|trial| trial.updates >= 25));
    let best = found.trials.iter().filter_map(|trial| trial.loss).fold(f64::INFINITY, f64::min);
    assert!(best < 2.0, "the best short training learned nothing: {found:?}");
}

#[test]
fn auto_fills_the_batch_size_first_and_then_the_learning_rate() {
    let prepared = prepared_with("\"auto\"", "\"auto\"", "");
    let recipe = &prepared.recipe;
    assert!(recipe.auto.is_empty());
    assert!(recipe.recipe.train.batch_size.is_power_of_two());
    let reason = |key: &str| recipe.origin(key).reason().unwrap_or_default().to_owned();
    assert!(reason("train.batch_size").contains("decided"), "{}", reason("train.batch_size"));
    assert!(reason("optimizer.lr").contains("short trainings"), "{}", reason("optimizer.lr"));
}

#[test]
fn the_batch_size_is_a_power_of_two_that_leaves_updates_and_fits() {
    let found = find_batch(&prepared(""), &mut Silent).expect("finds");
    assert!(found.batch_size.is_power_of_two() && (16..=32).contains(&found.batch_size), "{found:?}");
    assert!(found.fits >= found.batch_size && !found.sizes.is_empty());
}
