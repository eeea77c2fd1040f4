//! What every sampler must do in every space.

use super::{Grid, Prior, Random, Sampler, Sobol, Tpe};
use crate::trial::{Report, State, Trial};
use crate::{Direction, Distribution, Parameter, Space, View};
use danlu_rng::{Purpose, Stream};
use proptest::prelude::*;
use std::sync::Arc;

fn distribution() -> impl Strategy<Value = Distribution> {
    let width = 1e-6..1e3f64;
    prop_oneof![
        (-1e3..1e3f64, width.clone()).prop_map(|(low, w)| Distribution::float(low, low + w)),
        (1e-9..1e3f64, 1.0..1e6f64).prop_map(|(low, ratio)| Distribution::log(low, low * ratio)),
        (-10.0..10.0f64, 0.01..3.0f64, 0u32..40).prop_map(|(low, step, n)| {
            let high = low + step * f64::from(n);
            Distribution::Float { step: Some(step), low, high, log: false }
        }),
        (-1000..1000i64, 0..500i64, 1..9i64).prop_map(|(low, width, step)| Distribution::Int {
            log: false,
            step,
            low,
            high: low + width
        }),
        (1..1000i64, 0..5000i64).prop_map(|(low, width)| Distribution::Int {
            log: true,
            step: 1,
            low,
            high: low + width
        }),
        (1..6usize).prop_map(|n| Distribution::choice(["a", "b", "c", "d", "e", "f"].into_iter().take(n))),
    ]
}

/// Up to six parameters; some exist only for one value of the first, which is a choice.
fn space() -> impl Strategy<Value = Space> {
    proptest::collection::vec((distribution(), any::<bool>()), 1..6).prop_map(|rest| {
        let mut parameters = vec![Parameter::new("kind", Distribution::choice(["x", "y"]))];
        for (i, (distribution, conditional)) in rest.into_iter().enumerate() {
            let parameter = Parameter::new(format!("p{i}"), distribution);
            parameters.push(if conditional { parameter.when("kind", ["x"]) } else { parameter });
        }
        Space::new(parameters).unwrap_or_else(|error| panic!("{error}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_sampler_draws_active_values_of_their_domains(space in space(), seed: u64) {
        let samplers: Vec<(&str, Box<dyn Sampler>)> = vec![
            ("random", Box::new(Random)),
            ("sobol", Box::new(Sobol::new(seed))),
            ("tpe", Box::new(Tpe::default())),
            ("prior", Box::new(Prior::new(Tpe::default()))),
        ];
        let grid = Grid::new(&space, 2).map(|grid| ("grid", Box::new(grid) as Box<dyn Sampler>));
        for (name, mut sampler) in samplers.into_iter().chain(grid.ok()) {
            let mut view = View::new(Arc::new(space.clone()), Direction::Minimize, 3);
            for number in 0..16 {
                let mut rng = Stream::new(seed, Purpose::Sampler, number, 0);
                let Some(values) = sampler.sample(&view, &mut rng) else { break };
                prop_assert_eq!(values.len(), space.len());
                for i in 0..space.len() {
                    prop_assert_eq!(values[i].is_some(), space.is_active(i, &values[..i]), "{} {}", name, i);
                    if let Some(value) = values[i] {
                        prop_assert!(space.distribution(i).contains(value), "{} {} {}", name, i, value);
                    }
                }
                // What a recipe holds leads back to the same trial.
                let again = space.complete(&space.to_external(&values), |_, _| f64::NAN);
                prop_assert_eq!(again.ok(), Some(values.clone()));
                let state = if number % 3 == 0 { State::Paused } else { State::Complete };
                let value = rng.uniform();
                view.put(Trial {
                    number,
                    id: number as i64,
                    state,
                    values,
                    curve: vec![Report { step: 1 + number % 3, value, seconds: 0.0 }],
                    value: (state == State::Complete).then_some(value),
                    checkpoint: None,
                    error: None,
                    epoch: 1,
                });
            }
        }
    }

    #[test]
    fn the_unit_interval_leads_to_a_value_and_back_to_it(distribution in distribution(), unit in 0.0..=1.0f64) {
        let value = distribution.from_unit(unit);
        prop_assert!(distribution.contains(value), "{}", value);
        let place = distribution.to_unit(value);
        prop_assert!((0.0..=1.0).contains(&place));
        let again = distribution.from_unit(place);
        prop_assert!((again - value).abs() <= 1e-9 * value.abs().max(1.0), "{} {}", value, again);
    }

    #[test]
    fn a_space_survives_its_json(space in space()) {
        let text = serde_json::to_string(&space).unwrap_or_default();
        prop_assert_eq!(serde_json::from_str::<Space>(&text).ok(), Some(space));
    }
}
