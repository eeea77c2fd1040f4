use super::*;

fn fashion_mnist(train_images: usize) -> DataFacts {
    let names = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ];
    DataFacts {
        train_images,
        val_images: train_images / 4,
        test_images: train_images / 5,
        classes: names.map(str::to_owned).to_vec(),
        class_counts: vec![train_images / 10; 10],
        channels: 1,
        median_height: 28,
        median_width: 28,
    }
}

fn photos(train_images: usize) -> DataFacts {
    DataFacts { channels: 3, median_height: 375, median_width: 500, ..fashion_mnist(train_images) }
}

fn machine() -> MachineFacts {
    MachineFacts { cores: 2, memory_bytes: 24 << 30, training_gflops: None }
}

fn value(choices: &[Choice], key: &str) -> Option<Value> {
    choices.iter().find(|choice| choice.key == key).map(|choice| choice.value.clone())
}

#[test]
fn the_advice_for_fashion_mnist_reads_like_this() {
    let choices = advise(&fashion_mnist(48_000), &machine(), Preset::Quick, &[]);
    let lines: Vec<String> =
        choices.iter().map(|c| format!("{} = {}  # {} [{}]", c.key, c.value, c.reason, c.source)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_promised_time_is_kept_by_the_estimate() {
    for (preset, seconds) in [(Preset::Quick, 180.0), (Preset::Standard, 600.0), (Preset::Best, 3600.0)] {
        let data = fashion_mnist(48_000);
        for gflops in [None, Some(100.0), Some(400.0), Some(2000.0)] {
            let machine = MachineFacts { training_gflops: gflops, ..machine() };
            let choices = advise(&data, &machine, preset, &[]);
            let width = value(&choices, "network.width").and_then(|v| v.as_u64()).unwrap() as usize;
            let epochs = value(&choices, "train.epochs").and_then(|v| v.as_f64()).unwrap();
            let images = data.train_images + data.val_images / 3;
            let stride = value(&choices, "network.stride").and_then(|v| v.as_u64()).map(|s| s as usize);
            let epoch =
                Candidate::named("small", Some(width), stride, 28).seconds_an_epoch(28, images, &machine);
            assert!(
                epochs * epoch <= LENIENCY * seconds,
                "{preset} {gflops:?}: {epochs} epochs of {epoch} s"
            );
        }
    }
}

#[test]
fn a_faster_machine_gets_a_larger_network_or_more_epochs_and_a_small_set_takes_less_time() {
    let slow = advise(&fashion_mnist(48_000), &machine(), Preset::Standard, &[]);
    let fast = machine().measured(26e6, 10_000.0);
    let fast = advise(&fashion_mnist(48_000), &fast, Preset::Standard, &[]);
    let work = |choices: &[Choice]| {
        let number = |key| value(choices, key).and_then(|v| v.as_f64()).unwrap();
        number("train.epochs") * number("network.width").powi(2)
    };
    assert!(work(&fast) > 2.0 * work(&slow));

    let demo = fashion_mnist(4_080);
    let choices = advise(&demo, &machine(), Preset::Quick, &[]);
    let width = value(&choices, "network.width").and_then(|v| v.as_u64()).map(|w| w as usize);
    let epoch = Candidate::named("small", width, Some(2), 28).seconds_an_epoch(28, 4_420, &machine());
    let seconds = value(&choices, "train.epochs").and_then(|v| v.as_f64()).unwrap() * epoch;
    assert!(seconds < 90.0, "{seconds}");
}

#[test]
fn a_measurement_that_wavers_by_a_sixth_does_not_change_the_training() {
    let advised = |gflops: f64| {
        let machine = MachineFacts { training_gflops: Some(gflops), ..machine() };
        let choices = advise(&fashion_mnist(48_000), &machine, Preset::Quick, &[]);
        [value(&choices, "network.width"), value(&choices, "train.epochs")]
    };
    assert_eq!(advised(150.0), [Some(24.into()), Some(10.into())]);
    assert_eq!(advised(150.0), advised(175.0));
    assert_eq!(advised(150.0), advised(130.0));
}

#[test]
fn what_was_asked_for_is_not_advised_and_the_rest_follows_it() {
    let mut given = Layer::new();
    given.set_flag("train.batch_size=512").unwrap();
    given.set_flag("network=resnet18").unwrap();
    let choices = advise(&fashion_mnist(48_000), &machine(), Preset::Quick, std::slice::from_ref(&given));
    assert_eq!(value(&choices, "train.batch_size"), None);
    assert_eq!(value(&choices, "network.width"), None);
    assert_eq!(value(&choices, "optimizer.lr"), Some(0.4.into()));
    assert_eq!(value(&choices, "train.epochs"), Some(1.into()), "a ResNet-18 is far too large for 3 minutes");

    given.set_flag("optimizer.name=adamw").unwrap();
    let choices = advise(&fashion_mnist(48_000), &machine(), Preset::Quick, &[given]);
    assert_eq!(value(&choices, "optimizer.lr"), Some(0.002.into()));
    assert_eq!(value(&choices, "optimizer.nesterov"), None);
}

#[test]
fn photos_get_a_resnet_and_random_windows_and_small_sets_small_batches() {
    let choices = advise(&photos(1_000), &machine(), Preset::Best, &[]);
    assert_eq!(value(&choices, "network.name"), Some("resnet18".into()));
    assert_eq!(value(&choices, "data.image_size"), Some(224.into()));
    assert_eq!(value(&choices, "train.batch_size"), Some(32.into()));
    assert!(value(&choices, "augment.random_resized_crop.scale").is_some());
    let tiny_memory = MachineFacts { memory_bytes: 2 << 30, ..machine() };
    let choices = advise(&photos(50_000), &tiny_memory, Preset::Best, &[]);
    assert_eq!(value(&choices, "train.batch_size"), Some(2.into()));
}

#[test]
fn a_new_head_alone_learns_at_the_rate_of_a_fresh_start_from_the_same_pictures_each_epoch() {
    let advised = |flags: &[&str]| {
        let mut given = Layer::new();
        flags.iter().for_each(|flag| given.set_flag(flag).unwrap());
        advise(&photos(10_000), &machine(), Preset::Best, &[given])
    };
    let weights = "finetune.weights=w.pth";
    let (fresh, whole) = (advised(&[]), advised(&[weights]));
    let head = advised(&[weights, "finetune.freeze=[\"backbone\"]"]);
    let lr = |choices| value(choices, "optimizer.lr").and_then(|lr| lr.as_f64()).unwrap();
    assert_eq!(lr(&head), lr(&fresh));
    assert!((lr(&whole) - lr(&fresh) / 10.0).abs() < 1e-9);
    assert_eq!(value(&head, "augment.random_resized_crop"), Some("none".into()));
    assert_eq!(value(&head, "augment.random_erasing.p"), None);
    assert!(value(&whole, "augment.random_resized_crop.scale").is_some());
    assert_eq!(lr(&advised(&[weights, "finetune.freeze=[\"layer1\"]"])), lr(&whole));
}

#[test]
fn a_head_that_trains_first_takes_the_rate_of_a_fresh_start_and_the_backbone_a_tenth_of_it() {
    let advised = |flags: &[&str]| {
        let mut given = Layer::new();
        flags.iter().for_each(|flag| given.set_flag(flag).unwrap());
        advise(&photos(10_000), &machine(), Preset::Best, &[given])
    };
    let (weights, first) = ("finetune.weights=w.pth", "finetune.head_epochs=1");
    let lr = |choices: &[Choice]| value(choices, "optimizer.lr");
    let head_first = advised(&[weights, first]);
    assert_eq!(lr(&head_first), lr(&advised(&[])));
    assert_eq!(value(&head_first, "finetune.backbone_lr_scale"), Some(0.1.into()));
    // Without weights there is nothing to spare, and a factor of one's own stays.
    assert_eq!(value(&advised(&[first]), "finetune.backbone_lr_scale"), None);
    let own = advised(&[weights, first, "finetune.backbone_lr_scale=0.3"]);
    assert_eq!(value(&own, "finetune.backbone_lr_scale"), None);
}

#[test]
fn digits_are_not_mirrored_and_imbalance_is_judged_by_class() {
    let mut data = fashion_mnist(48_000);
    data.classes = (0..10).map(|digit| digit.to_string()).collect();
    data.class_counts = vec![100, 1000];
    let choices = advise(&data, &machine(), Preset::Quick, &[]);
    assert_eq!(value(&choices, "augment.horizontal_flip"), Some("none".into()));
    assert_eq!(value(&choices, "augment.horizontal_flip.p"), None);
    assert_eq!(value(&choices, "train.select"), Some("macro_f1".into()));
}

#[test]
fn no_fact_is_so_odd_that_the_advisor_fails() {
    for train_images in [0, 1, 2, 19, 1_000_000_000] {
        for side in [0, 1, 8, 65, 100_000] {
            for cores in [0, 1, 1000] {
                let data =
                    DataFacts { median_height: side, median_width: side + 1, ..fashion_mnist(train_images) };
                let machine = MachineFacts { cores, memory_bytes: 0, training_gflops: None };
                for preset in Preset::ALL {
                    let choices = advise(&data, &machine, preset, &[]);
                    assert!(choices.iter().all(|choice| !choice.reason.contains("NaN")), "{choices:?}");
                }
                advise(&DataFacts::default(), &machine, Preset::Quick, &[]);
            }
        }
    }
}
