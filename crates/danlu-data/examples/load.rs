//! Epochs of a folder of photos through the loader, for a profiler: `perf record target/release/examples/load FOLDER off|ram|disk 20`.

use std::sync::Arc;
use std::time::Instant;

use danlu_data::{
    AugmentConfig, Cache, ColorJitter, DataConfig, Dataset, HorizontalFlip, Loader, LoaderConfig, Part,
    RandomResizedCrop,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, cache, passes] = arguments.as_slice() else {
        return Err("expected FOLDER off|ram|disk PASSES".into());
    };
    let cache = match cache.as_str() {
        "off" => Cache::Off,
        "ram" => Cache::Ram,
        _ => Cache::Disk,
    };
    let data = DataConfig { cache, val_fraction: 0.0, test_fraction: 0.0, ..DataConfig::default() };
    let augment = AugmentConfig {
        random_resized_crop: Some(RandomResizedCrop::default()),
        horizontal_flip: Some(HorizontalFlip::default()),
        color_jitter: Some(ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            ..Default::default()
        }),
        ..AugmentConfig::default()
    };
    let dataset = Arc::new(Dataset::open(std::path::Path::new(folder), &data)?);
    let config = LoaderConfig { workers: 1, ..LoaderConfig::train(&data, &augment, [224, 224], 64, 0) };
    let loader = Loader::new(dataset, Part::Train, config)?;
    for epoch in 0..passes.parse()? {
        let start = Instant::now();
        let mut images = 0;
        let mut batches = loader.epoch(epoch, 0);
        while let Some(batch) = batches.next().transpose()? {
            images += batch.len();
            batches.recycle(batch);
        }
        println!("{:.3} ms an image", 1e3 * start.elapsed().as_secs_f64() / images as f64);
    }
    Ok(())
}
