//! How messages of the outermost level begin, and the lines that Envoy writes between them.

use crate::trace::detect::Generation;
use crate::trace::schema::{self, Field, Kind};

/// The note that Envoy writes in place of a message that it could not convert to JSON. A reason follows.
pub(in crate::trace) const FAILURE: &[u8] = b"Failed to convert protobuf message to JSON string:";
/// Envoy's response to a second client of `/tap`, which may end up in the file of the first.
pub(super) const ATTACHED: &[u8] = b"An attached /tap admin stream already exists. Detach it.";

/// Longer than every name in the schema, in bytes.
pub(in crate::trace) const MAX_NAME: usize = 64;

/// Names that are rare in other text. If one occurs between messages, it is part of a damaged message.
pub(super) const DISTINCTIVE_NAMES: [&[u8]; 14] = [
    b"as_bytes",
    b"asBytes",
    b"as_string",
    b"asString",
    b"end_stream",
    b"endStream",
    b"headers_received_time",
    b"local_address",
    b"remote_address",
    b"localAddress",
    b"remoteAddress",
    b"port_value",
    b"portValue",
    b"seq_num",
];

/// How certain it is that a name begins a message of the outermost level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Beginning {
    /// Only such a message begins with it.
    Sure,
    /// Messages inside others begin with it as well.
    Likely,
}

impl Generation {
    /// Whether a message of the outermost level begins with the field `name`.
    pub(in crate::trace) fn beginning(self, name: &[u8]) -> Option<Beginning> {
        let likely = |known: bool| known.then_some(Beginning::Likely);
        match self {
            Self::Tap => match schema::TAP_TRACEWRAPPER.named(name) {
                Some(field) if is_trace(field) => Some(Beginning::Sure),
                Some(_) => Some(Beginning::Likely),
                None if name == b"@type" => Some(Beginning::Likely),
                None => likely(schema::TAP_STREAMTAPSREQUEST.named(name).is_some()),
            },
            Self::Capture => likely(schema::CAPTURE_TRACE.named(name).is_some()),
        }
    }

    /// The name of a trace's field at the end of `word`.
    pub(in crate::trace) fn ending(self, word: &[u8]) -> Option<&'static [u8]> {
        let fields = match self {
            Self::Tap => schema::TAP_TRACEWRAPPER.fields,
            // Other fields have the same names.
            Self::Capture => &[],
        };
        // Few words end in such a name, and comparing is faster than finding out whether a field contains a trace.
        let fields = fields
            .iter()
            .filter(|field| word.ends_with(field.name.as_bytes()));
        // A name may end in another one, so the longest counts.
        fields
            .filter(|field| is_trace(field))
            .map(|field| field.name.as_bytes())
            .max_by_key(|name| name.len())
    }
}

/// Whether a field of `TraceWrapper` contains a trace. No other field has such a name.
pub(in crate::trace) fn is_trace(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(_)) && field.name.contains("_trace")
}
