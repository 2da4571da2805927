//! Built-in sheets hold the design's numbers; wrong sheets are refused with file, line and key.

use super::*;

fn narae_1() -> String {
    BUILT_IN[0].1.to_string()
}

fn problems(text: &str) -> String {
    match Chip::parse("my.toml", text) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn built_in_sheets_print_and_parse_back() {
    for (name, _) in BUILT_IN {
        let chip = Chip::built_in(name).unwrap();
        assert_eq!(chip.chip.name, name);
        assert_eq!(Chip::parse(name, &chip.to_toml()).as_ref(), Ok(&chip));
    }
}

#[test]
fn narae_1_is_what_the_design_says() {
    let chip = Chip::built_in("narae-1").unwrap();
    let (tiles, mxe) = (chip.tiles.count, &chip.mxe);
    assert_eq!((chip.dram.channels, tiles, chip.sram.bytes_per_tile), (32, 16, 2 << 20));
    assert_eq!(tiles * mxe.lut_outputs * mxe.lut_inputs * mxe.lut_planes / 4 * mxe.lut_tokens, 32_768);
    assert_eq!((tiles * mxe.f16_macs, tiles * mxe.f32_macs), (8192, 2048));
    assert_eq!((tiles * chip.ate.f16_macs, tiles * chip.ate.f32_macs), (4096, 1024));
    assert_eq!((tiles * chip.vpe.f16_lanes, tiles * chip.vpe.f32_lanes, tiles * chip.vpe.f64_lanes), (2048, 1024, 64));
}

#[test]
fn wrong_sheets_are_refused() {
    insta::assert_snapshot!(problems(&narae_1().replace("count = 16", "count = -16")), @r"
    error[E0705]: `tiles.count` is -16; expected an integer from 1 to 1024
      --> my.toml:10, key `tiles.count`
    ");
    insta::assert_snapshot!(problems(&narae_1().replace("count = 16", "count = 16\nspeed = 3")), @r"
    error[E0703]: `tiles.speed` is not a key of a chip sheet
      --> my.toml:11, key `tiles.speed`
    ");
    insta::assert_snapshot!(problems(&narae_1().replace("queue_depth = 16", "")), @r"
    error[E0704]: key `scu.queue_depth` is missing; expected an integer from 1 to 1024
      --> my.toml
      = note: the key is `scu.queue_depth`
    ");
    insta::assert_snapshot!(problems(&narae_1().replace("channels = 32", "channels = 16")), @r"
    error[E0706]: 546.1 GB/s do not agree with 16 channels of 16 bits at 8533 MT/s, which are 273.1 GB/s
      --> my.toml:68, key `dram.gigabytes_per_second`
    ");
    insta::assert_snapshot!(problems(&narae_1().replace("low = 4.5", "low = 9.5")), @r"
    error[E0706]: the band 9.5 … 7.5 does not contain the typical value 6
      --> my.toml:77, key `energy.dram_bit.typical`
    ");
    insta::assert_snapshot!(problems(&narae_1().replace("clock_mhz = 1000.0", "clock_mhz = \"fast\"")), @r"
    error[E0705]: `tiles.clock_mhz` is a string; expected a number from 1 to 10000
      --> my.toml:11, key `tiles.clock_mhz`
    ");
    insta::assert_snapshot!(problems("[chip\n"), @r"
    error[E0702]: not valid TOML: unclosed table, expected `]`
      --> my.toml:1
    ");
    assert!(problems("clock_mhz = nan").contains("E0703"));
}

#[test]
fn contradictions_name_the_key_that_has_to_give_way() {
    for (from, to, key) in [
        ("channels = 32", "channels = 24", "dram.channels"),
        ("stripe_bytes = 256", "stripe_bytes = 300", "dram.stripe_bytes"),
        ("capacity_bytes = 137438953472", "capacity_bytes = 137438953471", "dram.capacity_bytes"),
        ("bank_bytes_per_clock = 64", "bank_bytes_per_clock = 48", "sram.bank_bytes_per_clock"),
        ("bytes_per_tile = 2097152", "bytes_per_tile = 2097216", "sram.bytes_per_tile"),
        ("fifo_bytes_per_tile = 262144", "fifo_bytes_per_tile = 262145", "dmaw.fifo_bytes_per_tile"),
        ("fifo_bytes_per_tile = 262144", "fifo_bytes_per_tile = 2097152", "dmaw.fifo_bytes_per_tile"),
        ("broadcast_tiles = 16", "broadcast_tiles = 17", "sram.broadcast_tiles"),
    ] {
        let text = narae_1();
        let found = problems(&text.replacen(from, to, 1));
        let line = text.lines().position(|line| line.starts_with(from)).map_or(0, |index| index + 1);
        let place = format!("my.toml:{line}, key `{key}`");
        assert!(found.contains("E0706") && found.contains(&place), "{to}: {found}");
    }
    let short = problems(&narae_1().replace("instruction_buffer_bytes = 65536", "instruction_buffer_bytes = 512"));
    assert!(short.contains("E0705"), "{short}");
}

#[test]
fn chips_and_other_sheets_are_told_apart() {
    assert!(Chip::is_described_by(&narae_1()) && Chip::is_described_by("[tiles]\ncount = -3"));
    assert!(!Chip::is_described_by("base = \"lpddr5-6400\"") && !Chip::is_described_by("[tiles"));
}

#[test]
fn a_missing_file_says_what_names_there_are() {
    let error = Chip::load("/nonexistent/narae-9").unwrap_err().to_string();
    assert!(error.contains("E0701") && error.contains("narae-edge"), "{error}");
}
