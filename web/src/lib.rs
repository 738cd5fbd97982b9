//! capture2pcap in a browser: the functions that the page's worker calls.
//!
//! A call takes a request, a JSON object, and returns an answer, which is another. What the module can do is what it
//! imports, three functions and nothing else: `read` bytes of a file that was dropped on the page, `write` bytes of the
//! capture, and tell `progress`. A test of the page holds the module to that list.

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
