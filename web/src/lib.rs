//! capture2pcap in a browser: the functions that the page's worker calls.
//!
//! A call takes a request and returns an answer, both of them JSON objects. The module imports three functions, and has
//! access to nothing else: `read` reads bytes of a file that was dropped on the page, `write` writes bytes of the capture
//! or of a copy, and `progress` reports how much has been read. A test of the page checks that list.

mod host;
mod request;

pub use host::{call, reserve};

/// The answer to a request.
pub fn answer(request: &str) -> String {
    let answer = match serde_json::from_str(request) {
        Ok(request) => request::answer(&request),
        Err(error) => serde_json::json!({ "messages": [format!("no request: {error}")] }),
    };
    answer.to_string()
}
