//! Many traces, one capture in strict time order.
//!
//! Each trace is read twice. The first pass finds the span of its parts and how many events each
//! conversation has; the second sweeps over time and holds open only what overlaps, so that thousands
//! of traces need few open files and little memory.
//!
//! Invariant: events of one trace keep their order, and no packet is earlier than the one before it.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use foldhash::{HashMap, HashMapExt as _};
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};

use crate::capture::{Capture, Output, Target};
use crate::convert::{Failure, Options, Source, Summary, labels};
use crate::event::{Event, Http, Timestamp, What};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::notice::{Kind, Notice, Notices};
use crate::synth::{self, ConversationId, Conversations, Handshake, Synthesizer};
use crate::trace::{Damage, Encoding, Fault, Mark, Reader, Step};

/// The time between two events of a trace that records none, in nanoseconds.
const STAND_IN_INTERVAL: u64 = 1_000;
/// How far the reader of a trace looks ahead for the count that tells a truncated event's size: so
/// many events, and so many bytes of payload.
const AHEAD_EVENTS: usize = 1024;
const AHEAD_BYTES: usize = 8 << 20;

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// What came of each trace, in the order in which they were given.
    pub traces: Vec<Outcome>,
    /// The connections that have packets in the capture.
    pub connections: u64,
    /// The packets in the capture.
    pub frames: u64,
    /// The server ports on which a reader has to be told to expect HTTP/2, in order.
    pub http2_ports: Vec<u16>,
    /// Whether the reader of a stream went away before its end.
    pub reader_gone: bool,
}

/// What came of one trace of a merge.
#[derive(Debug)]
pub struct Outcome {
    /// The trace.
    pub path: PathBuf,
    /// What is to be known about it.
    pub notices: Notices,
    /// What of it is in the capture, or why nothing is.
    pub result: Result<Summary, Failure>,
}

/// A part of a trace whose events follow each other in time: a buffered message, or all that is streamed.
#[derive(Debug)]
struct Run {
    source: u32,
    /// Where it begins, and the event before that place; none at the trace's beginning.
    mark: Option<(Mark, Event)>,
    /// How many events it has from there on.
    events: u64,
    /// The time of its first event.
    start: Timestamp,
}

/// What the first pass finds in a trace.
#[derive(Debug, Default)]
struct Scan {
    runs: Vec<Run>,
    /// How many events make packets in each conversation.
    counts: HashMap<ConversationId, u64>,
    damage: Option<Damage>,
    empty: bool,
}

/// Merges `paths` into one capture. `notices` makes the collector of a trace's notices.
///
/// # Errors
/// When there is no capture: none of the traces can be read, or the capture cannot be written. What is
/// wrong with a single trace stands in the [`Outcome`].
pub fn merge(
    paths: &[PathBuf],
    target: &Target,
    options: &Options,
    threads: usize,
    interrupt: &Interrupt,
    notices: impl Fn(&Source) -> Notices,
) -> Result<Merged, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Failure::Trace(anyhow!(error)))?;
    let scans: Vec<_> = pool.install(|| {
        let scan =
            |(source, path): (usize, &PathBuf)| scan(source as u32, path, options, interrupt);
        paths.par_iter().enumerate().map(scan).collect()
    });
    let sources: Vec<_> = paths.iter().cloned().map(Source::File).collect();
    let names = labels(options, sources.iter());
    let mut sweep = Sweep {
        encoding: options.encoding,
        counts: HashMap::new(),
        conversations: Conversations::default(),
        synth: Synthesizer::new(synth::Options {
            latest: options.capture.format.last_time(),
            labels: names.clone(),
            exclusive: true,
            handshake: match options.synth.handshake {
                Handshake::Auto => Handshake::Always,
                other => other,
            },
            ..options.synth.clone()
        }),
        start: options.synth.start,
        traces: Vec::new(),
        now: Timestamp::default(),
        frames: 0,
        incomplete: false,
    };
    let mut runs = Vec::new();
    for (path, scan) in paths.iter().zip(scans) {
        let mut outcome = Outcome {
            path: path.clone(),
            notices: notices(&Source::File(path.clone())),
            result: Ok(Summary::default()),
        };
        match scan {
            Ok(scan) => {
                runs.extend(scan.runs);
                for (conversation, count) in scan.counts {
                    *sweep.counts.entry(conversation).or_default() += count;
                }
                if scan.empty {
                    let (kind, detail) = (Kind::Empty, String::new());
                    outcome.notices.add(Notice {
                        kind,
                        offset: 0,
                        trace: None,
                        bytes: 0,
                        detail,
                    });
                }
                let damage = scan.damage;
                outcome.result = Ok(Summary {
                    damage,
                    ..Summary::default()
                });
            }
            Err(failure) => outcome.result = Err(failure),
        }
        sweep.traces.push(outcome);
    }
    let (mut reader_gone, merging) = (false, sweep.traces.iter().any(|trace| trace.result.is_ok()));
    if merging && interrupt.signal().is_none() {
        let metadata = paths.iter().filter_map(|path| path.metadata().ok());
        let output = Output::create(target, metadata).map_err(Failure::capture)?;
        let live = output.is_stream();
        let written = (|| {
            let mut capture = Capture::new(output, options.capture, &names.unwrap_or_default())?;
            sweep.run(runs, &mut capture, interrupt)?;
            capture.finish()
        })();
        if sweep.incomplete && options.strict {
            return Err(Failure::Trace(anyhow!(
                "a trace changed meanwhile, and --strict allows no capture then"
            )));
        }
        match written.and_then(Output::commit) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && live => reader_gone = true,
            Err(error) => return Err(Failure::capture(error)),
        }
    }
    Ok(Merged {
        connections: sweep.synth.connections(),
        frames: sweep.frames,
        http2_ports: sweep.synth.http2_ports().iter().copied().collect(),
        traces: sweep.traces,
        reader_gone,
    })
}

/// Opens a trace for the first pass.
fn open(path: &Path) -> io::Result<Input> {
    // Asked before it is opened, for opening a FIFO waits for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other(
            "it is no regular file, and a merge reads each trace twice",
        ));
    }
    Input::from_file(File::open(path)?)
}

/// The time that an event has in a merge, behind the one at `last` of its run.
fn place(time: Option<Timestamp>, last: Option<Timestamp>, start: Timestamp) -> Timestamp {
    match (time, last) {
        (Some(time), last) => last.map_or(time, |last| last.max(time)),
        (None, Some(last)) => last.saturating_add(STAND_IN_INTERVAL),
        (None, None) => start,
    }
}

/// The first pass over a trace.
fn scan(
    source: u32,
    path: &Path,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Scan, Failure> {
    let input = open(path).map_err(|error| Failure::trace("cannot open", error))?;
    let mut reader = Reader::new(input, options.encoding, Some(path.to_owned())).of_source(source);
    let mut conversations = Conversations::default();
    let mut scan = Scan::default();
    let mut first = None;
    while interrupt.signal().is_none() {
        let event = match reader.event() {
            Ok(Step::Item(event)) => event,
            Ok(Step::More) => {
                reader
                    .fill(None)
                    .map_err(|error| Failure::trace("cannot read", error))?;
                continue;
            }
            Ok(Step::End) => break,
            Err(damage) if !reader.recognised() => return Err(Failure::Trace(damage.into())),
            Err(damage) if options.strict => {
                return Err(Failure::trace(crate::convert::STRICT, damage));
            }
            Err(damage) => {
                scan.damage = Some(damage);
                break;
            }
        };
        if let Some(conversation) = conversations.of(&event) {
            *scan.counts.entry(conversation).or_default() += 1;
        }
        let begins = matches!(event.what, What::Begin | What::Http(Http::Begin(_)));
        if scan.runs.is_empty() || begins {
            let mark = reader.mark().filter(|_| !scan.runs.is_empty());
            let events = u64::from(mark.is_none());
            let mark = mark.map(|mark| (mark, event.clone()));
            scan.runs.push(Run {
                source,
                mark,
                events,
                start: options.synth.start,
            });
            first = None;
        } else if let Some(run) = scan.runs.last_mut() {
            run.events += 1;
        }
        if event.is_timed() && first.is_none() {
            first = Some(place(event.time, None, options.synth.start));
            if let (Some(run), Some(first)) = (scan.runs.last_mut(), first) {
                run.start = first;
            }
        }
    }
    scan.empty = scan.runs.is_empty() && reader.offset() == 0;
    Ok(scan)
}

/// A run being read.
struct Open {
    source: u32,
    reader: Reader,
    left: u64,
    /// Events that are read and not told yet, and how many bytes of payload they hold.
    ahead: VecDeque<Event>,
    bytes: usize,
    /// How many at the front of `ahead` are known to have no time of their own. Searched anew for each
    /// event, a trace that begins with many connections would take the square of their number.
    untimed: usize,
    last: Option<Timestamp>,
    /// Why it ends short of what the first pass found, if it does.
    short: Option<Short>,
}

/// An open run and the time of its next event. The earliest is the greatest, as the heap has that on top;
/// of equals, the one that was opened first.
struct Due {
    time: Timestamp,
    number: usize,
    run: Box<Open>,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

/// Why a trace ends earlier than before.
enum Short {
    Damage(Damage),
    Unread(io::Error),
}

impl Open {
    /// Reads up to the next event that happened at a time, and tells that time.
    fn advance(&mut self, start: Timestamp) -> Option<Timestamp> {
        loop {
            let timed = self.ahead.range(self.untimed..).position(Event::is_timed);
            let next = timed.map(|at| self.untimed + at);
            self.untimed = next.unwrap_or(self.ahead.len());
            if let Some(next) = next
                && (self.is_settled(next) || !self.read())
            {
                return Some(place(self.ahead[next].time, self.last, start));
            }
            if next.is_none() && !self.read() {
                return None;
            }
        }
    }

    /// Whether all is known of an event that is ever going to be.
    fn is_settled(&self, at: usize) -> bool {
        let event = &self.ahead[at];
        let waits = matches!(
            event.what,
            What::Data {
                truncated: true,
                ..
            }
        ) && event.seq_num.is_some()
            && event.next_seq.is_none();
        !waits || self.ahead.len() - at > AHEAD_EVENTS || self.bytes > AHEAD_BYTES
    }

    /// Reads one more event; false when there is none.
    fn read(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let event = loop {
            let why = match self.reader.event() {
                Ok(Step::Item(event)) => break event,
                Ok(Step::More) => match self.reader.fill(None) {
                    Ok(()) => continue,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Short::Unread(error),
                },
                Ok(Step::End) => Short::Damage(Damage {
                    offset: self.reader.offset(),
                    fault: Fault::Cut {
                        what: "a trace that was longer when the merge began",
                        missing: None,
                    },
                }),
                Err(damage) => Short::Damage(damage),
            };
            self.short = Some(why);
            self.left = 0;
            return false;
        };
        self.left -= 1;
        if let Some(count) = event.count_before() {
            let before = self
                .ahead
                .iter_mut()
                .rev()
                .find(|before| before.trace == event.trace && before.is_timed());
            if let Some(before) = before {
                before.next_seq = Some(count);
            }
        }
        if let What::Data { payload, .. } = &event.what {
            self.bytes += payload.len();
        }
        self.ahead.push_back(event);
        true
    }

    /// Takes the next event.
    fn take(&mut self) -> Option<Event> {
        let event = self.ahead.pop_front()?;
        self.untimed = self.untimed.saturating_sub(1);
        if let What::Data { payload, .. } = &event.what {
            self.bytes -= payload.len();
        }
        Some(event)
    }
}

/// The second pass.
struct Sweep {
    encoding: Option<Encoding>,
    /// How many events each conversation has still to come.
    counts: HashMap<ConversationId, u64>,
    conversations: Conversations,
    synth: Synthesizer,
    /// The first time of a trace that records none.
    start: Timestamp,
    traces: Vec<Outcome>,
    /// The time of the last packet.
    now: Timestamp,
    frames: u64,
    /// Whether a trace ended earlier than in the first pass.
    incomplete: bool,
}

impl Sweep {
    fn run(
        &mut self,
        mut runs: Vec<Run>,
        capture: &mut Capture<Output>,
        interrupt: &Interrupt,
    ) -> io::Result<()> {
        // Stable: among equals, the order of the traces and of their parts.
        runs.sort_by_key(|run| run.start);
        let mut coming = runs.into_iter().peekable();
        let mut open: BinaryHeap<Due> = BinaryHeap::new();
        let mut opened = 0;
        while interrupt.signal().is_none() {
            while let Some(run) =
                coming.next_if(|run| open.peek().is_none_or(|due| run.start <= due.time))
            {
                let mut run = Box::new(self.open(run, capture)?);
                match run.advance(self.start) {
                    Some(time) => open.push(Due {
                        time,
                        number: opened,
                        run,
                    }),
                    None => self.rest(*run, capture)?,
                }
                opened += 1;
            }
            let Some(mut first) = open.peek_mut() else {
                break;
            };
            let due = &mut *first;
            self.tell(&mut due.run, due.time, capture)?;
            match due.run.advance(self.start) {
                // It stays where it is, or sinks.
                Some(time) => due.time = time,
                None => {
                    let due = PeekMut::pop(first);
                    self.rest(*due.run, capture)?;
                }
            }
        }
        // What an interrupt has left open.
        let (now, frames) = (&mut self.now, &mut self.frames);
        let mut unheard = Notices::default();
        self.synth.finish(false, &mut unheard, &mut |frame| {
            write(frame, now, frames, capture)
        })
    }

    /// Opens a run, and tells what was read before its beginning.
    fn open(&mut self, run: Run, capture: &mut Capture<Output>) -> io::Result<Open> {
        let trace = &mut self.traces[run.source as usize];
        let path = trace.path.clone();
        let (reader, before) = match run.mark {
            Some((mark, before)) => {
                let input = Input::from_path(path, mark.offset());
                (Reader::resume(input, &mark), Some(before))
            }
            None => {
                let input = Input::from_path(path.clone(), 0);
                (
                    Reader::new(input, self.encoding, Some(path)).of_source(run.source),
                    None,
                )
            }
        };
        if let Some(before) = before {
            self.event(&before, capture)?;
        }
        let (source, left) = (run.source, run.events);
        Ok(Open {
            source,
            reader,
            left,
            ahead: VecDeque::new(),
            bytes: 0,
            untimed: 0,
            last: None,
            short: None,
        })
    }

    /// Tells the next event of a run that happened at a time, and what it says before that.
    fn tell(
        &mut self,
        run: &mut Open,
        time: Timestamp,
        capture: &mut Capture<Output>,
    ) -> io::Result<()> {
        while let Some(mut event) = run.take() {
            let timed = event.is_timed();
            if timed {
                self.clamp(&mut event, time);
                run.last = Some(time);
            }
            self.event(&event, capture)?;
            if timed {
                break;
            }
        }
        Ok(())
    }

    /// Tells what a run says behind its last event.
    fn rest(&mut self, mut run: Open, capture: &mut Capture<Output>) -> io::Result<()> {
        while let Some(event) = run.take() {
            self.event(&event, capture)?;
        }
        let trace = &mut self.traces[run.source as usize];
        if let (Some(short), Ok(summary)) = (run.short, &mut trace.result) {
            self.incomplete = true;
            match short {
                Short::Damage(damage) => drop(summary.damage.get_or_insert(damage)),
                Short::Unread(error) => summary.unread = Some(error),
            }
        }
        Ok(())
    }

    /// Gives an event its time in the merge.
    fn clamp(&mut self, event: &mut Event, time: Timestamp) {
        let kind = match event.time {
            None => Kind::StandInTime,
            Some(recorded) if recorded < time => Kind::TimeClamped,
            Some(_) => return,
        };
        event.time = Some(time);
        let (offset, trace, detail) = (event.offset, Some(event.trace), String::new());
        let notices = &mut self.traces[event.trace.source as usize].notices;
        notices.add(Notice {
            kind,
            offset,
            trace,
            bytes: 0,
            detail,
        });
    }

    fn event(&mut self, event: &Event, capture: &mut Capture<Output>) -> io::Result<()> {
        let conversation = self.conversations.of(event);
        let trace = &mut self.traces[event.trace.source as usize];
        let whole = match &mut trace.result {
            Ok(summary) => {
                summary.count(event);
                summary.damage.is_none()
            }
            Err(_) => false,
        };
        let (now, frames) = (&mut self.now, &mut self.frames);
        let out = &mut |frame: &synth::Frame<'_>| write(frame, now, frames, capture);
        self.synth.event(event, &mut trace.notices, out)?;
        let Some(conversation) = conversation else {
            return Ok(());
        };
        if let Some(left) = self.counts.get_mut(&conversation) {
            *left -= 1;
            if *left == 0 {
                self.counts.remove(&conversation);
                self.synth
                    .end(&conversation, whole, &mut trace.notices, out)?;
            }
        }
        Ok(())
    }
}

/// Writes a frame, no earlier than the one before it.
fn write(
    frame: &synth::Frame<'_>,
    now: &mut Timestamp,
    frames: &mut u64,
    capture: &mut Capture<Output>,
) -> io::Result<()> {
    *now = frame.time.max(*now);
    *frames += 1;
    capture.frame(&synth::Frame {
        time: *now,
        ..*frame
    })
}
