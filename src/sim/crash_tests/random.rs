//! Random histories of a log against the model.
