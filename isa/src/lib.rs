//! The Narae machine as a contract: instructions, element and weight formats, chip data sheets, the image file.
//! Everything that compiler and simulator agree on is defined here, once. Imports nothing else of this workspace.
#![forbid(unsafe_code)]

pub mod numerics;
