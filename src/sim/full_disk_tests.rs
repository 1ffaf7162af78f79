//! A cluster whose disks fill up.
