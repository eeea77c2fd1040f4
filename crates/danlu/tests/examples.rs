//! The examples run: each is compiled into this test and called.

// `main` is public for this file alone: as examples they are programs.
#![allow(unreachable_pub)]

#[path = "../examples/convbn_relu.rs"]
mod convbn_relu;
#[path = "../examples/freeze_backbone.rs"]
mod freeze_backbone;
#[path = "../examples/kaiming_normal.rs"]
mod kaiming_normal;
#[path = "../examples/param_groups.rs"]
mod param_groups;
#[path = "../examples/resnet50_exponential.rs"]
mod resnet50_exponential;
#[path = "../examples/state_dict.rs"]
mod state_dict;

#[test]
fn convbn_relu_builds_and_infers() {
    convbn_relu::main().expect("runs");
}

#[test]
fn kaiming_normal_fills_a_convolution() {
    kaiming_normal::main();
}

#[test]
fn two_parameter_groups_are_made() {
    param_groups::main().expect("runs");
}

#[test]
fn resnet50_trains_for_twenty_epochs_with_exponential_decay() {
    resnet50_exponential::main().expect("runs");
}

#[test]
fn a_frozen_backbone_gets_a_new_last_layer() {
    freeze_backbone::main().expect("runs");
}

#[test]
fn a_state_dict_goes_into_a_file_and_out_of_it_again() {
    state_dict::main().expect("runs");
}
