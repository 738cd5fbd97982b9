//! Warnings about what Envoy did not record of an HTTP exchange.

use crate::model::event::{Field, Part, TraceId};
use crate::model::warning::{Warning, WarningKind};

use super::super::connection::cannot_be_a_string;
use super::super::{Context, Sink};

/// Whether the headers of a message declare a binary body.
pub(super) fn is_binary(fields: &[Field]) -> bool {
    let types: [&[u8]; 5] = [
        b"application/grpc",
        b"application/octet-stream",
        b"audio/",
        b"image/",
        b"video/",
    ];
    fields.iter().any(|field| match &field.name[..] {
        b"content-type" => types.iter().any(|begin| field.value.starts_with(begin)),
        b"content-encoding" => field.value != "identity",
        _ => false,
    })
}

/// Reports what Envoy did not record of a part.
///
/// In a string, Envoy writes a space for most bytes that are not UTF-8. That is visible only if a body is
/// `binary`: each of its spaces may have been another byte.
pub(super) fn note_losses<S: Sink>(
    id: TraceId,
    offset: u64,
    part: &Part,
    binary: bool,
    cx: &mut Context<'_, S>,
) {
    let Part::Body {
        payload,
        truncated,
        as_string,
    } = part
    else {
        return;
    };
    let lossy = *as_string && (cannot_be_a_string(payload) || (binary && payload.contains(&b' ')));
    for (kind, applies) in [
        (WarningKind::TruncatedUnknown, *truncated),
        (WarningKind::LossyString, lossy),
    ] {
        if applies {
            cx.warnings.add(about(kind, offset, id));
        }
    }
}

/// A warning about a part of an exchange.
pub(super) fn about(kind: WarningKind, offset: u64, id: TraceId) -> Warning {
    Warning {
        offset,
        trace: Some(id),
        ..Warning::of_trace(kind)
    }
}
