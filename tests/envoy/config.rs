//! The configuration of the recording Envoy: a tap at each place in each variant.
//!
//! All ports are 0. Envoy reports afterwards which ones it has.

#![expect(
    clippy::needless_pass_by_value,
    reason = "a piece of JSON is made where it is handed on"
)]

use std::path::Path;

use serde_json::{Value, json};

use crate::variant::{Place, Variant, to_files};

/// The servers for the traffic of the taps.
pub(crate) struct Upstreams {
    /// Ports of the HTTP/1 server: one for each variant, and one for the rest.
    pub(crate) http: Vec<u16>,
    /// The same for the gRPC server.
    pub(crate) grpc: Vec<u16>,
}

/// The listener with a socket tap of the admin interface.
pub(crate) const ADMIN_SOCKET: &str = "admin_socket";
/// The listener with a filter tap of the admin interface.
pub(crate) const ADMIN_HTTP: &str = "admin_http";
/// The clusters without a tap.
const QUIET: [&str; 2] = ["http", "grpc"];

/// A limit above the bytes of every connection here.
const LIMIT: u32 = 100 << 20;

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    json!({ "name": name, "typed_config": config })
}

/// The path of a listener on a Unix socket. The system limits such a path to 107 bytes.
pub(crate) fn unix_path(sockets: &Path, tap: &str) -> String {
    format!("{}/{tap}", sockets.display())
}

struct Config<'a> {
    taps: &'a Path,
    sockets: &'a Path,
    keys: &'a Path,
}

/// The destination of a tap: files, or the admin interface.
fn common(to: Option<(&Path, &str, Variant)>, id: &str) -> Value {
    let Some((folder, tap, variant)) = to else {
        return json!({ "admin_config": { "config_id": id } });
    };
    json!({ "static_config": {
        "match": { "any_match": true },
        "output_config": {
            "streaming": variant.streamed,
            "max_buffered_rx_bytes": LIMIT,
            "max_buffered_tx_bytes": LIMIT,
            "sinks": [{
                "format": variant.format,
                "file_per_tap": { "path_prefix": folder.join(tap) },
            }],
        },
    }})
}

/// A tap around the transport socket `inner`.
fn tap_socket(common: Value, inner: Value) -> Value {
    typed(
        "envoy.transport_sockets.tap",
        "envoy.extensions.transport_sockets.tap.v3.Tap",
        json!({ "common_config": common, "transport_socket": inner }),
    )
}

fn tap_filter(common: Value) -> Value {
    typed(
        "envoy.filters.http.tap",
        "envoy.extensions.filters.http.tap.v3.Tap",
        json!({
            "common_config": common,
            "record_headers_received_time": true,
            "record_downstream_connection": true,
        }),
    )
}

fn raw() -> Value {
    typed(
        "envoy.transport_sockets.raw_buffer",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        json!({}),
    )
}

fn tls(keys: &Path) -> Value {
    typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({ "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": { "filename": keys.join("cert.pem") },
                "private_key": { "filename": keys.join("key.pem") },
            }],
        }}),
    )
}

fn tcp(ip: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": ip, "port_value": port } })
}

/// A listener that routes gRPC to one cluster and everything else to another.
fn listener(
    name: &str,
    address: Value,
    filter: Option<Value>,
    socket: Value,
    to: &[&str],
) -> Value {
    let router = typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({}),
    );
    let filters: Vec<_> = filter.into_iter().chain([router]).collect();
    let manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "http",
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [
                    { "match": { "prefix": "/echo.Echo/" }, "route": { "cluster": to[1] } },
                    { "match": { "prefix": "/" }, "route": { "cluster": to[0] } },
                ],
            }]},
            "http_filters": filters,
        }),
    );
    json!({
        "name": name,
        "address": address,
        "filter_chains": [{ "filters": [manager], "transport_socket": socket }],
    })
}

fn cluster(name: &str, port: u16, http2: bool, socket: Value) -> Value {
    let mut explicit = json!({});
    explicit[if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    }] = json!({});
    let mut options = typed(
        "",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        json!({
            // A trace is complete only when its connection ends, and Envoy keeps upstream connections open.
            "common_http_protocol_options": { "idle_timeout": "0.5s" },
            "explicit_http_config": explicit,
        }),
    );
    json!({
        "name": name,
        "connect_timeout": "30s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": tcp("127.0.0.1", port) } }] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options["typed_config"].take(),
        },
        "transport_socket": socket,
    })
}

impl Config<'_> {
    fn tap(&self, place: Place, variant: Variant) -> Value {
        common(Some((self.taps, &place.tap(variant), variant)), "")
    }

    fn listener(&self, place: Place, variant: Variant) -> Value {
        let tap = self.tap(place, variant);
        let name = place.tap(variant);
        let upstream = [Place::Upstream, Place::UpstreamGrpc].map(|place| place.tap(variant));
        let tapped = upstream.each_ref().map(String::as_str);
        let v4 = tcp("127.0.0.1", 0);
        match place {
            // These two listeners receive the traffic for the taps of the clusters.
            Place::V4 | Place::Grpc => listener(&name, v4, None, tap_socket(tap, raw()), &tapped),
            Place::V6 => listener(&name, tcp("::1", 0), None, tap_socket(tap, raw()), &QUIET),
            Place::Tls => listener(&name, v4, None, tap_socket(tap, tls(self.keys)), &QUIET),
            Place::Unix => {
                let pipe = json!({ "pipe": { "path": unix_path(self.sockets, &name) } });
                listener(&name, pipe, None, tap_socket(tap, raw()), &QUIET)
            }
            Place::Http => listener(&name, v4, Some(tap_filter(tap)), raw(), &QUIET),
            Place::Upstream | Place::UpstreamGrpc => unreachable!("a cluster"),
        }
    }
}

/// The whole configuration. `keys` has the key and certificate for TLS.
pub(crate) fn config(taps: &Path, sockets: &Path, keys: &Path, to: &Upstreams) -> Value {
    let config = Config {
        taps,
        sockets,
        keys,
    };
    let waiting = |id| common(None, id);
    let v4 = || tcp("127.0.0.1", 0);
    let mut listeners = vec![
        listener(
            ADMIN_SOCKET,
            v4(),
            None,
            tap_socket(waiting(ADMIN_SOCKET), raw()),
            &QUIET,
        ),
        listener(
            ADMIN_HTTP,
            v4(),
            Some(tap_filter(waiting(ADMIN_HTTP))),
            raw(),
            &QUIET,
        ),
    ];
    let last = |ports: &[u16]| *ports.last().expect("a port");
    let mut clusters = vec![
        cluster(QUIET[0], last(&to.http), false, raw()),
        cluster(QUIET[1], last(&to.grpc), true, raw()),
    ];
    for (i, variant) in to_files().into_iter().enumerate() {
        for place in Place::ALL {
            if !place.is_upstream() {
                listeners.push(config.listener(place, variant));
                continue;
            }
            let http2 = place == Place::UpstreamGrpc;
            let port = if http2 { to.grpc[i] } else { to.http[i] };
            let socket = tap_socket(config.tap(place, variant), raw());
            clusters.push(cluster(&place.tap(variant), port, http2, socket));
        }
    }
    json!({
        "admin": { "address": v4() },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// The request to the admin interface for the traces of a tap.
pub(crate) fn request(id: &str, variant: Variant, traces: usize) -> Value {
    let mut sink = json!({ "format": variant.format });
    if variant.streamed {
        sink["streaming_admin"] = json!({});
    } else {
        // The tap ends after this number of traces. The timeout is for a test that fails.
        sink["buffered_admin"] = json!({ "max_traces": traces, "timeout": "60s" });
    }
    json!({
        "config_id": id,
        "tap_config": {
            "match": { "any_match": true },
            "output_config": {
                "streaming": variant.streamed,
                "max_buffered_rx_bytes": LIMIT,
                "max_buffered_tx_bytes": LIMIT,
                "sinks": [sink],
            },
        },
    })
}
