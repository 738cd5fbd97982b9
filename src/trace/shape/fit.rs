//! How well some bytes match a schema, and what follows from that.
//!
//! Invariant: the fit of a message is the sum of the fits of its parts.

/// This many matching fields make a trace, even if something does not match later.
const ENOUGH: u32 = 4;

/// How well some bytes match a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// The number of matching fields.
    pub(super) fields: u32,
    /// Whether something did not match, up to the last byte examined.
    pub(super) is_bad: bool,
    /// The fields that are not in the schema.
    pub(super) unknown: u32,
    /// Those of them that no release of Envoy is likely to add: of a fixed size, or with a high number.
    pub(super) strange: u32,
    /// The values that only a trace has at their position: addresses, events with a time and bytes,
    /// pseudo-headers.
    pub(super) anchors: u32,
    /// The events among them.
    pub(super) events: u32,
    /// The events that have a time. It may be any time, since clocks may be wrong.
    pub(super) timed_events: u32,
    /// The payloads of events: five nested messages at the positions of a tap's.
    pub(super) payloads: u32,
    /// The pseudo-headers among them.
    pub(super) pseudo_headers: u32,
    /// The header fields whose values are long lines of text.
    pub(super) long_values: u32,
    /// The complete messages of socket taps that have an id.
    pub(super) ids: u32,
    /// The bytes of long values, which show nothing, and how many of them are missing.
    pub(super) passed: u32,
    pub(super) missing: u32,
    /// Whether it contains a socket event that says what happened.
    pub(super) is_event: bool,
    /// Whether there are header fields that no HTTP message has.
    pub(super) has_odd_headers: bool,
}

impl Fit {
    pub(super) const BAD: Self = Self {
        fields: 0,
        is_bad: true,
        unknown: 0,
        strange: 0,
        anchors: 0,
        events: 0,
        timed_events: 0,
        payloads: 0,
        pseudo_headers: 0,
        long_values: 0,
        ids: 0,
        passed: 0,
        missing: 0,
        is_event: false,
        has_odd_headers: false,
    };

    /// Adds the result of a nested message.
    pub(super) fn add(&mut self, inner: Self) {
        self.fields += inner.fields;
        self.is_bad |= inner.is_bad;
        self.unknown += inner.unknown;
        self.strange += inner.strange;
        self.anchors += inner.anchors;
        self.events += inner.events;
        self.timed_events += inner.timed_events;
        self.payloads += inner.payloads;
        self.pseudo_headers += inner.pseudo_headers;
        self.long_values += inner.long_values;
        self.ids += inner.ids;
        self.passed = self.passed.saturating_add(inner.passed);
        self.missing = self.missing.saturating_add(inner.missing);
        self.is_event |= inner.is_event;
        self.has_odd_headers |= inner.has_odd_headers;
    }

    pub(super) fn anchor(&mut self) {
        self.anchors += 1;
    }

    /// Whether it is a trace, with any bytes after these. `proof` is the number of events required.
    pub(super) const fn is_certain(&self, proof: u32) -> bool {
        self.fields >= ENOUGH && self.anchors > 0 && self.events >= proof && !self.is_foreign()
    }

    /// Whether it is a trace if nothing follows.
    pub(super) const fn is_likely(&self, proof: u32) -> bool {
        let has_events = self.is_event && (self.unknown == 0 || self.has_events());
        // Without events and addresses, nothing but the id may be left. Several such messages are numbers of another
        // kind.
        let is_lone_id = self.ids == 1 && self.unknown == 0;
        let is_known = (has_events || is_lone_id) && proof == 0;
        !self.is_bad && (self.anchors > 0 || is_known) && !self.is_foreign()
    }

    /// Whether it is a message of another kind: it has strings in place of header fields, or fields that no tap
    /// has, such as the times of an access log. A single address does not outweigh these, because logs have
    /// addresses, too.
    const fn is_foreign(&self) -> bool {
        let has_headers = self.pseudo_headers > 0 || self.long_values > 0;
        let is_proved = self.has_events() || has_headers || self.anchors >= 2;
        self.has_odd_headers && self.pseudo_headers == 0 || self.strange > 0 && !is_proved
    }

    /// Whether it contains events at a depth that only a trace has, with any times.
    const fn has_events(&self) -> bool {
        self.timed_events > 0 || self.payloads > 0
    }
}
