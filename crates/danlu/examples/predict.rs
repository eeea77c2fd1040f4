//! Classes of an image, from a run folder or a weights file: `cargo run --example predict -- runs/photos-1 cat.jpg`

use danlu::train::Predictor;

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [model, image] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "give a model and an image")?;
    let mut predictor = Predictor::load(model.as_ref())?;
    for best in predictor.predict(image.as_ref())?.iter().take(5) {
        println!("{} {:.1} %", best.class, 100.0 * best.probability);
    }
    Ok(())
}
