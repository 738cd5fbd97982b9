//! What `--install-wireshark` does, and `--uninstall-wireshark` undoes.

use super::*;

#[test]
fn install_reports_its_steps_and_can_be_repeated_and_undone() {
    let home = Home::new();
    let plugin = home.0.path(PLUGIN);
    home.run("--install-wireshark")
        .exits(0)
        .says([PLUGIN, "extcap/capture2pcap: installed"]);
    let program = home.link();
    assert_eq!(
        fs::read_link(&program).unwrap(),
        Path::new(env!("CARGO_BIN_EXE_capture2pcap"))
    );
    assert!(
        fs::read_to_string(&plugin)
            .unwrap()
            .starts_with("-- capture2pcap: ")
    );
    home.run("--install-wireshark")
        .exits(0)
        .says(["capture2pcap.lua: already", "extcap/capture2pcap: already"]);

    // Files of an older version, and a program that has moved.
    fs::write(&plugin, "-- capture2pcap: older\n").unwrap();
    fs::remove_file(&program).unwrap();
    symlink("/nowhere/capture2pcap", &program).unwrap();
    home.run("--install-wireshark").exits(0).says([
        "capture2pcap.lua: installed",
        "extcap/capture2pcap: installed",
    ]);
    assert_eq!(
        fs::read_link(&program).unwrap(),
        Path::new(env!("CARGO_BIN_EXE_capture2pcap"))
    );

    let neighbour = plugin.with_file_name("neighbour.lua");
    fs::write(&neighbour, "-- mine\n").unwrap();
    home.run("--uninstall-wireshark")
        .exits(0)
        .says(["capture2pcap.lua: removed", "extcap/capture2pcap: removed"]);
    assert!(!plugin.exists() && fs::symlink_metadata(&program).is_err() && neighbour.exists());
    home.run("--uninstall-wireshark")
        .exits(0)
        .says(["capture2pcap.lua: not installed"]);
}

#[test]
fn a_foreign_file_is_never_replaced_or_removed() {
    let home = Home::installed();
    let (plugin, link) = (home.0.path(PLUGIN), home.link());
    home.run("--uninstall-wireshark").exits(0);
    fs::write(&plugin, "-- my own\n").unwrap();
    for option in ["--install-wireshark", "--uninstall-wireshark"] {
        home.run(option).exits(1).says([PLUGIN, "refusing"]);
        assert_eq!(fs::read_to_string(&plugin).unwrap(), "-- my own\n");
        assert!(fs::symlink_metadata(&link).is_err(), "nothing else is done");
    }
    fs::remove_file(&plugin).unwrap();
    let foreign: [&dyn Fn(); 2] = [&|| fs::write(&link, "#!/bin/sh\n").unwrap(), &|| {
        symlink("/usr/bin/true", &link).unwrap();
    }];
    for make in foreign {
        make();
        for option in ["--install-wireshark", "--uninstall-wireshark"] {
            home.run(option)
                .exits(1)
                .says(["extcap/capture2pcap", "refusing"]);
            assert!(fs::symlink_metadata(&link).is_ok() && !plugin.exists());
        }
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn without_wireshark_nothing_is_installed() {
    let home = Home::new();
    let run = home
        .0
        .capture2pcap()
        .env("HOME", home.path())
        .env("PATH", home.path());
    run.arg("--install-wireshark")
        .run()
        .exits(1)
        .says(["neither tshark nor wireshark", "package"]);
    assert_eq!(home.0.dir().read_dir().unwrap().count(), 0);
}

/// Debian has separate packages for the two, and Wireshark 4.0 lists its folders only if it has a display.
#[test]
fn wireshark_without_tshark_is_enough() {
    let home = Home::new();
    let wireshark = home.0.path("wireshark");
    fs::write(
        &wireshark,
        "#!/bin/sh\n[ \"$1\" = -v ] && echo 'Wireshark 4.4.2.'\n",
    )
    .unwrap();
    fs::set_permissions(&wireshark, fs::Permissions::from_mode(0o755)).unwrap();
    let run = home
        .0
        .capture2pcap()
        .env("HOME", home.path())
        .env("PATH", home.path());
    run.arg("--install-wireshark").run().exits(0).says([PLUGIN]);
    assert!(
        home.link()
            .ends_with(".local/lib/wireshark/extcap/capture2pcap")
    );
}

/// The first commands of the README.
#[test]
fn once_installed_the_readmes_capture_opens_with_no_option() {
    let home = Home::new();
    let trace = crate::fixtures::testdata().join("path_0.pb");
    let convert = || {
        let run = home.0.capture2pcap().env("HOME", home.path());
        run.arg("-v").arg(&trace).arg("path_0.pcap").run().exits(0)
    };
    convert().says(["tshark -r path_0.pcap -d tcp.port==10000,http2\n"]);
    home.run("--install-wireshark").exits(0);
    convert().says(["tshark -r path_0.pcap\n"]);
    let shown = home
        .tshark()
        .arg("-r")
        .arg(home.0.path("path_0.pcap"))
        .run()
        .exits(0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("HEADERS[13]: GET /index.html"), "{shown}");
}
