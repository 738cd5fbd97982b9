//! The messages and lists around the position of a lexer.

use crate::trace::error::Damage;
use crate::trace::readable::scan::View;

/// The maximum nesting of messages and lists. Traces need about ten levels.
pub(in crate::trace) const MAX_DEPTH: usize = 64;

/// The kept length of a name, in bytes: longer than all known names.
const MAX_REPEATED: usize = 256;

/// The open messages and lists, and the names of the lists.
#[derive(Clone, Debug, Default)]
pub(in crate::trace) struct Nesting {
    open: Vec<Open>,
    /// The names of the open lists, outermost first.
    names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Open {
    /// A message, and its closing token.
    Message(u8),
    /// A list, and where its name begins in `names`.
    List(usize),
}

impl Nesting {
    pub(in crate::trace) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many messages and lists are open.
    pub(in crate::trace) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Restarts inside a message that `closing` ends.
    pub(in crate::trace) fn restart(&mut self, closing: u8) {
        self.clear();
        self.open.push(Open::Message(closing));
    }

    /// Restarts between outermost messages.
    pub(in crate::trace) fn clear(&mut self) {
        self.open.clear();
        self.names.clear();
    }

    pub(in crate::trace) fn in_list(&self) -> bool {
        matches!(self.open.last(), Some(Open::List(_)))
    }

    /// The closing token of the innermost message, if nothing is open inside it.
    pub(in crate::trace) fn closing(&self) -> Option<u8> {
        match self.open.last() {
            Some(&Open::Message(closing)) => Some(closing),
            _ => None,
        }
    }

    /// The name of the innermost list; empty inside a message.
    pub(in crate::trace) fn list_name(&self) -> &[u8] {
        match self.open.last() {
            Some(&Open::List(start)) => &self.names[start..],
            _ => &[],
        }
    }

    /// Returns the name of the innermost list for its next value.
    pub(in crate::trace) fn repeat(&self, name: &mut Vec<u8>) {
        name.clear();
        name.extend_from_slice(self.list_name());
    }

    pub(in crate::trace) fn enter_message(
        &mut self,
        closing: u8,
        view: &View<'_>,
    ) -> Result<(), Damage> {
        self.enter(Open::Message(closing), view)
    }

    /// The field of this `name` has a list of values.
    pub(in crate::trace) fn enter_list(
        &mut self,
        name: &[u8],
        view: &View<'_>,
    ) -> Result<(), Damage> {
        self.enter(Open::List(self.names.len()), view)?;
        // Each value repeats the name. A truncated name is still longer than all known names, so it stays unknown.
        self.names.extend(name.iter().take(MAX_REPEATED));
        Ok(())
    }

    fn enter(&mut self, open: Open, view: &View<'_>) -> Result<(), Damage> {
        if self.open.len() == MAX_DEPTH {
            return Err(view.expected("messages that nest less deeply"));
        }
        self.open.push(open);
        Ok(())
    }

    /// The innermost message or list ends.
    pub(in crate::trace) fn leave(&mut self) {
        if let Some(Open::List(start)) = self.open.pop() {
            self.names.truncate(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::readable::json::Json;
    use crate::trace::readable::scan::tests::line;

    #[test]
    fn nesting_has_a_limit() {
        let deep = |depth| format!("{{\"a\":[{}", "{\"a\":[".repeat(depth));
        let line = |depth| line(&mut Json::default(), deep(depth).as_bytes(), 100);
        assert!(line(MAX_DEPTH / 2 - 1).ends_with("!192 cut in a JSON object"));
        assert!(line(MAX_DEPTH / 2).ends_with("!192 messages that nest less deeply"));
        assert!(line(1 << 16).ends_with("!192 messages that nest less deeply"));
    }
}
