#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| capture2pcap_fuzz::redact(data));
