//! What an Envoy can be asked to record: where, in which format, buffered or streamed.

/// A format of a sink, and whether the tap streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) format: &'static str,
    /// What Envoy puts behind the name of a file in this format.
    pub(crate) extension: &'static str,
    pub(crate) streamed: bool,
}

impl Variant {
    /// The part of a tap's name that tells the variant, as `str_proto_text`.
    pub(crate) fn name(self) -> String {
        let how = if self.streamed { "str" } else { "buf" };
        format!("{how}_{}", self.format.to_lowercase())
    }

    /// Whether bytes that are not UTF-8 are lost in it.
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

/// All variants that the admin interface offers: Envoy 1.40 aborts when it is asked to stream a PROTO
/// format there, and knows none but the delimited one otherwise.
pub(crate) fn to_admin() -> Vec<Variant> {
    let mut variants = to_files();
    variants.retain(|variant| {
        variant.extension == "json"
            || !variant.streamed && variant.format == "PROTO_BINARY_LENGTH_DELIMITED"
    });
    variants
}

/// Where a tap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A listener on 127.0.0.1, with HTTP/1 and HTTP/2.
    V4,
    /// The same, with gRPC.
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

    /// Whether the tap is at the end of a connection that Envoy opened.
    pub(crate) const fn is_upstream(self) -> bool {
        matches!(self, Self::Upstream | Self::UpstreamGrpc)
    }

    /// The name of the tap there: of its listener or cluster, and of its files up to the number.
    pub(crate) fn tap(self, variant: Variant) -> String {
        format!("{}_{}", self.name(), variant.name())
    }
}
