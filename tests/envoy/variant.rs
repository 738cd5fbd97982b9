//! The variants of taps: their places, their formats, buffered or streamed.

/// A format of a sink, and whether the tap streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) format: &'static str,
    /// The extension of Envoy's files in this format.
    pub(crate) extension: &'static str,
    pub(crate) streamed: bool,
}

impl Variant {
    /// The variant's part of a tap's name, such as `str_proto_text`.
    pub(crate) fn name(self) -> String {
        let how = if self.streamed { "str" } else { "buf" };
        format!("{how}_{}", self.format.to_lowercase())
    }

    /// Whether it records bodies as strings, which lose bytes that are not UTF-8.
    pub(crate) fn is_string(self) -> bool {
        self.format == "JSON_BODY_AS_STRING"
    }
}

const FORMATS: [(&str, &str); 5] = [
    ("PROTO_BINARY", "pb"),
    ("PROTO_BINARY_LENGTH_DELIMITED", "pb_length_delimited"),
    ("PROTO_TEXT", "pb_text"),
    ("JSON_BODY_AS_BYTES", "json"),
    ("JSON_BODY_AS_STRING", "json"),
];

/// All variants of a tap that writes files.
pub(crate) fn to_files() -> Vec<Variant> {
    let of = |streamed| {
        FORMATS.map(|(format, extension)| Variant {
            format,
            extension,
            streamed,
        })
    };
    [of(false), of(true)].concat()
}

/// All variants of the admin interface. Envoy 1.40 aborts if it is asked to stream a PROTO format there, and without
/// streaming supports only the delimited one.
pub(crate) fn to_admin() -> Vec<Variant> {
    let mut variants = to_files();
    variants.retain(|variant| {
        variant.extension == "json"
            || !variant.streamed && variant.format == "PROTO_BINARY_LENGTH_DELIMITED"
    });
    variants
}

/// The place of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A listener on 127.0.0.1, with HTTP/1 and HTTP/2.
    V4,
    /// A listener on 127.0.0.1, with gRPC.
    Grpc,
    /// A listener on ::1.
    V6,
    /// A listener with TLS.
    Tls,
    /// A listener on a Unix socket.
    Unix,
    /// A cluster that speaks HTTP/1.
    Upstream,
    /// A cluster that speaks gRPC.
    UpstreamGrpc,
    /// A filter, in a listener on 127.0.0.1.
    Http,
}

impl Place {
    pub(crate) const ALL: [Self; 8] = [
        Self::V4,
        Self::Grpc,
        Self::V6,
        Self::Tls,
        Self::Unix,
        Self::Upstream,
        Self::UpstreamGrpc,
        Self::Http,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::Grpc => "grpc",
            Self::V6 => "v6",
            Self::Tls => "tls",
            Self::Unix => "unix",
            Self::Upstream => "upstream",
            Self::UpstreamGrpc => "upstreamgrpc",
            Self::Http => "http",
        }
    }

    /// Whether the tap is on connections that Envoy opens.
    pub(crate) const fn is_upstream(self) -> bool {
        matches!(self, Self::Upstream | Self::UpstreamGrpc)
    }

    /// The name of the tap: that of its listener or cluster, and the prefix of its files.
    pub(crate) fn tap(self, variant: Variant) -> String {
        format!("{}_{}", self.name(), variant.name())
    }
}
