//! What every target does with its bytes.

use std::path::Path;

use danlu_weights::{inspect, read_model_card, read_state_dict};

/// Reads `data` as a file called `name`: it is read or refused, and what is read is consistent.
pub fn read(name: &str, data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, data).expect("writes");
    look_at(&path);
}

/// Reads a file or folder and holds the result against itself.
pub fn look_at(path: &Path) {
    match read_state_dict(path) {
        Ok(loaded) => {
            for (name, tensor) in loaded.state.iter() {
                assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "{name}");
            }
            inspect(&loaded.state);
            danlu_weights::identify(&loaded.state);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // A card may be readable where the tensors are not.
    let _ = read_model_card(path);
}
