//! Laws of the disks.

use super::*;

mod sim;

#[test]
fn a_disk_is_as_full_as_df_says() {
    // A hundred blocks: 24 in use, 53 kept for the administrator.
    let space = Space::of(4096, 100, 76, 23);
    assert_eq!((space.total, space.available), (47 * 4096, 23 * 4096));
    assert!((space.used_ratio(0) - 24.0 / 47.0).abs() < 1e-9);
    assert!((space.used_ratio(23 * 4096) - 1.0).abs() < 1e-9, "full is when there is no more to be had");
}
