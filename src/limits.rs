//! Limits of the wire and of the event loop, each with a reason.
//!
//! Limits of the disk, of QUIC, of SQLite and of the console stand beside their users. Sizes are in
//! bytes.

use std::time::Duration;

/// The largest integer on the wire: a double represents every integer up to here.
pub const LARGEST_INTEGER: u64 = (1 << 53) - 1;
/// Depth of nested objects and lists, header included: the limit of common JSON parsers.
pub const NESTING: usize = 127;
/// Members of a JSON object: many times any method's, and few enough to search for duplicates.
pub const JSON_MEMBERS: usize = 256;
/// A file name: the limit of common file systems.
pub const NAME_BYTES: usize = 255;
/// A relative path; a list of such paths still fits into a header.
pub const RELATIVE_BYTES: usize = 1_024;
/// Parts of a relative path: deeper trees are backups rather than shares.
pub const RELATIVE_PARTS: usize = 16;

/// The name of a group of members: a short word, since a file may name many.
pub const GROUP_BYTES: usize = 32;
/// Groups of a member or a file: a person has some, and a search compares two sets.
pub const MEMBER_GROUPS: usize = 16;
/// Addresses in an invite: a machine has few, and a client tries them in turn.
pub const INVITE_ADDRESSES: usize = 8;
/// Revoked keys in an event or a response: 67 bytes each, in a header of [`HEADER_BYTES`].
pub const REVOKED_KEYS: usize = 500;
/// An invite expires after a day, unless its maker says otherwise.
pub const INVITE_SECONDS: u64 = 24 * 3_600;
/// The name of a server: fits into a line of a terminal beside its address.
pub const SERVER_NAME_BYTES: usize = 64;
/// An address in an invite: the longest host name of DNS.
pub const INVITE_ADDRESS_BYTES: usize = 255;
/// A link expires after an hour, unless its maker says otherwise: long enough for a download.
pub const LINK_SECONDS: u32 = 3_600;
/// Live links of a peer: a list that a person can still read, in less than a megabyte.
pub const LINKS: usize = 1_000;
/// The text of an invite: fits into a QR code, a chat message and a line of a terminal.
pub const INVITE_BYTES: usize = 2_048;
/// Life of a pass in seconds: a provider that can't reach the server serves a revoked member for no
/// longer.
pub const PASS_SECONDS: u64 = 900;
/// The text of a pass: the longest name and 16 groups take 1,716; the rest is for later claims.
pub const PASS_BYTES: usize = 2_048;

/// A header before the handshake, to a peer, or in any response: some hundred files of a list.
pub const HEADER_BYTES: usize = 64 << 10;
/// A header to the server after the handshake: a JOIN part.
pub const JOIN_BYTES: usize = 1 << 20;
/// Files per JOIN or UPDATE part: about [`JOIN_BYTES`], so that tiny entries cost no more than long
/// names.
pub const PART_FILES: usize = 20_000;
/// Files per peer: more than any disk of videos, less than the memory of a server.
pub const PEER_FILES: usize = 10_000_000;
/// Files of all peers at a remote address; a peer that joins again counts twice for a moment.
pub const ADDRESS_FILES: usize = 2 * PEER_FILES;
/// Files per JOIN part of our own peer: indexed in well under a millisecond.
pub const JOIN_PART_FILES: usize = 1_000;
/// Bytes per JOIN part of our own peer, with names of any length.
pub const JOIN_PART_BYTES: usize = 48 << 10;
/// Files of all JOINs and UPDATEs indexed per iteration: about 1 ms. The rest waits.
pub const INGEST_FILES: usize = 1_000;
/// Of these, files per peer before the next peer's turn.
pub const INGEST_SLICE: usize = 500;
/// Longer lines with files are decoded in slices of this many bytes: one takes a third of a
/// millisecond.
pub const SLICED_BYTES: usize = 64 << 10;
/// Bytes of long lines that all connections together decode per iteration.
pub const DECODED_BYTES: usize = SLICED_BYTES;
/// A longer line waits for its turn of that.
pub const LONG_LINE: usize = 4 << 10;
/// Lists that wait for the index, above which no long line is decoded: a decoded list takes
/// several times the memory of its line.
pub const DECODED_LISTS: usize = 16;
/// New entries enter the trigram index at the latest after this delay; before, searches scan new
/// entries.
pub const BUILD_LAG: Duration = Duration::from_secs(3);
/// Entries of departed peers purged per iteration: about 1.5 ms.
pub const PURGE_FILES: usize = 1_000;
/// The words of a search: as long as a name and a description.
pub const QUERY_TEXT_BYTES: usize = RELATIVE_BYTES + NAME_BYTES;
/// Words of a search: more than anyone types; each is matched against every text.
pub const QUERY_WORDS: usize = 32;
/// Extensions per search: all of a kind of file.
pub const QUERY_EXTENSIONS: usize = 16;
/// A file extension; a longer suffix is part of a name.
pub const EXTENSION_BYTES: usize = 16;
/// Entries per page of a search with words or filters, as in other lists.
pub const QUERY_ENTRIES: usize = 256;
/// The cursor of a search: by name, the cursor holds a name and two numbers.
pub const QUERY_CURSOR_BYTES: usize = RELATIVE_BYTES + CURSOR_BYTES;
/// Bytes of text that searches scan per iteration, with a fixed cost per text: under a millisecond.
pub const SEARCH_BUDGET: usize = 512 << 10;
/// Of these, bytes per search before the next search's turn: most need less.
pub const SEARCH_SLICE: usize = SEARCH_BUDGET / 4;
/// A search responds within this time, with the results so far or `busy`.
pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of text added to the trigram index per iteration: some two hundred names, under a
/// millisecond.
pub const BUILD_BUDGET: usize = 32 << 10;

/// A body: a piece, which bounds the cost of a CANCEL or a changed file.
pub const BODY_BYTES: u64 = 1 << 20;
/// The unit of hashing, requests and bans: one body, so that a wrong piece costs one body.
pub const PIECE_BYTES: u64 = BODY_BYTES;
/// Pieces of a file with a content hash: 4 TiB, with a hash list of 128 MiB.
pub const PIECES: u64 = 4 << 20;
/// A downloaded file: 64 TiB, with a bitfield of 8 MiB. A larger size is made up.
pub const DOWNLOAD_BYTES: u64 = 16 * PIECES * PIECE_BYTES;
/// Piece ranges per HAVE: a header holds as many.
pub const HAVE_RUNS: usize = 2_000;
/// Providers per SEARCH response: more sources than any download can use at once.
pub const HOLDERS: usize = 64;
/// Entries per PEERS or LS response.
pub const LIST_ENTRIES: usize = 256;
/// Bytes of entries per response: [`HEADER_BYTES`] without the frame.
pub const LIST_BYTES: usize = 60 << 10;
/// Files in one page of a folder: as many as fit into a header.
pub const FOLDER_ENTRIES: usize = 512;
/// Files of one folder that a requester takes: the list stays in memory.
pub const FOLDER_FILES: u64 = 2_000_000;
/// Sources per download: more than any line can use at once.
pub const SOURCES: usize = 64;
/// Further providers remembered by a download; the index can list others again later.
pub const CANDIDATES: usize = 512;
/// FETCH requests in progress per connection.
pub const FETCHES: usize = 16;
/// The opaque cursor of a page.
pub const CURSOR_BYTES: usize = 64;

/// One write from a mapped file: below 256 KiB system calls dominate, above 1 MiB other connections
/// wait without gain.
pub const SLICE_BYTES: usize = 1 << 20;
/// One read from a socket by way of the shared buffer, which stays in the second-level cache.
pub const SCRATCH_BYTES: usize = 256 << 10;
/// Bytes moved per iteration over all connections: about 2 ms with hashing and writing.
pub const ITERATION_BYTES: usize = 2 << 20;
/// Connections are served so long in an iteration: a few bytes can complete a piece, which is hashed
/// and written at once, and a disk can be slow. The others are the first in the next iteration.
pub const ITERATION_TIME: Duration = Duration::from_millis(4);
/// Requests of a connection handled per service.
pub const SERVICE_REQUESTS: usize = 32;
/// Bytes of responses to a connection per service: a page of a list takes a fifth of a millisecond.
pub const SERVICE_RESPONSE_BYTES: usize = 64 << 10;
/// Cost of a response byte in [`ITERATION_BYTES`]: encoding takes as long as moving this many bytes
/// of a file.
pub const RESPONSE_COST: usize = 4;
/// Positions in our own file list that are remembered, so that the next page needs no walk from the
/// start.
pub const LIST_MARKS: usize = 64;
/// Buffer reserved for the responses of one service: [`SERVICE_REQUESTS`] searches with five
/// providers each.
pub const RESPONSE_RESERVE: usize = 20 << 10;
/// Pending request bytes for which [`RESPONSE_RESERVE`] is worthwhile: some ten searches.
pub const MANY_REQUESTS: usize = 640;
/// Backpressure: stop reading requests while the send queue holds this many bytes.
pub const HIGH_WATER: usize = 1 << 20;
/// A chunk of a send queue takes no further responses at this size: a chunk is freed only once
/// sent.
pub const QUEUE_CHUNK_BYTES: usize = 64 << 10;
/// Bytes of all send queues; beyond, connections are read only up to [`SMALL_QUEUE_BYTES`] of
/// responses.
pub const ALL_QUEUES_BYTES: usize = 128 << 20;
/// Of these, bytes for one address: a slow reader with 32 connections.
pub const ADDRESS_QUEUE_BYTES: usize = ALL_QUEUES_BYTES / 4;
/// Responses allowed on each connection even when all queues are full, so that small responses
/// always pass.
pub const SMALL_QUEUE_BYTES: usize = 4 << 10;
/// Bytes of all incomplete headers.
pub const ALL_HEADERS_BYTES: usize = 64 << 20;
/// Of these, bytes for one address: 32 JOIN parts at once.
pub const ADDRESS_HEADER_BYTES: usize = ALL_HEADERS_BYTES / 2;
/// Bytes that an address may use of an exhausted resource: a JOIN part and a full send queue.
pub const RESERVE_BYTES: usize = JOIN_BYTES + SCRATCH_BYTES;
/// Retry a connection that a shared limit has stopped after this long.
pub const ROOM_RETRY: Duration = Duration::from_millis(100);
/// When memory is short, close connections first that moved no byte for this long.
pub const STALLED_AFTER: Duration = Duration::from_secs(2);
/// An incomplete header kept even at [`ALL_HEADERS_BYTES`], so that small requests always pass.
pub const SMALL_HEADER_BYTES: usize = 4 << 10;
/// Connections per address, as a divisor of all: classes of 200 share a router.
pub const CONNECTION_SHARE: usize = 4;
/// Connections that any address may always have.
pub const ADDRESS_CONNECTIONS: usize = 16;
/// Connections beyond the limit, accepted only to answer `busy`, on spare descriptors.
pub const BUSY_CONNECTIONS: usize = 16;
/// Time for the request of such a connection: some round trips, no longer than people wait.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections accepted per iteration: a flood of connects must not starve established connections.
pub const ITERATION_ACCEPTS: usize = 256;
/// A typed or piped command line.
pub const COMMAND_BYTES: usize = 4 << 10;

/// From connect to a complete handshake or HTTP header.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// An incomplete legacy request is answered this long before [`HANDSHAKE_TIMEOUT`].
pub const LEGACY_ERROR_MARGIN: Duration = Duration::from_millis(200);
/// From the first to the last byte of a later header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Close a connection that accepts no pending byte for this long.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Checks within [`WRITE_TIMEOUT`] whether the kernel delivered bytes: the resolution of the
/// timeout.
pub const STALL_CHECKS: u32 = 16;
/// Give up on a source after this long without a byte of a body.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a response that needs no person.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The least time for the response to a PING, for any heartbeat: a busy machine is not dead.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(2);
/// A person's time to answer; then the answer is no.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Time in another peer's upload queue: giant files take hours. [`KEEPALIVE`] detects dead
/// connections.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// TCP keep-alive after this long without traffic.
pub const KEEPALIVE: Duration = Duration::from_secs(60);
/// An HTTP request waits this long for an upload slot.
pub const HTTP_SLOT: Duration = Duration::from_secs(60);
/// Close an idle HTTP connection after this long.
pub const HTTP_IDLE: Duration = Duration::from_secs(60);
/// The default heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(20);
/// A peer speaks first to a requester that is silent for this long: all other clients have sent
/// their first bytes with the connection.
pub const GREETING_SILENCE: Duration = Duration::from_secs(1);
/// A legacy message without a terminator is complete after this pause.
pub const QUIET: Duration = Duration::from_millis(50);
/// The pause between two parts of a legacy response: ufabc-json clients take the bytes of a `recv`
/// for a part.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Entries of a list in a legacy protocol without pages: some megabytes.
pub const LIST_ALL: usize = 50_000;
/// Entries of such a list in UC3M's fixed profile: the count has four digits.
pub const LIST_FOUR_DIGITS: usize = 9_999;
/// The name of a UC3M operation with the terminator: the longest has twelve letters.
pub const OPERATION_BYTES: usize = 32;
/// A field of a UC3M request with the NUL. At most five fields bound a request to 1.3 KiB.
pub const FIELD_BYTES: usize = NAME_BYTES + 1;
/// Depth of nested objects and lists in ufabc-json; real requests have three levels.
pub const UFABC_JSON_DEPTH: usize = 8;
/// One object of a ufabc-json response to a file request: the original client reads no more.
pub const UFABC_JSON_ANSWER_BYTES: usize = 1 << 10;
/// Times an unterminated ufabc-json object is offered as complete: each costs a full parse.
pub const UFABC_JSON_OFFERS: usize = 16;
/// The folder of a ufabc-json peer: the longest path of the kernel.
pub const FOLDER_BYTES: usize = 4 << 10;
/// A word of rede-p2p with its name: [`RELATIVE_BYTES`] and some room.
pub const REDE_WORD_BYTES: usize = 2 << 10;
/// Silence after which a transfer without a size stops. Silence proves no end, so the download
/// fails.
pub const LEGACY_END_SILENCE: Duration = Duration::from_secs(10);
/// The largest file with a decision on the UC3M 2020 form before the first byte is stored: the
/// receive buffer holds the file.
pub const UC3M_HELD_BYTES: u32 = 65_500;
/// The same for a list: a missing end costs some names.
pub const LEGACY_LIST_SILENCE: Duration = Duration::from_secs(1);
/// A file in datagrams without a datagram for this long is lost: real programs wait as long.
pub const DATAGRAM_SILENCE: Duration = Duration::from_secs(5);
/// Datagrams of a file that wait for the disk or a pipe, in bytes: half a second of the usual pace.
pub const DATAGRAMS_HELD: usize = 1 << 20;
/// A rede-p2p program does not answer a request for a missing file, nor for an empty one: after this
/// silence its list of files tells these apart.
pub const LEGACY_ANSWER_SILENCE: Duration = Duration::from_secs(5);
/// The file list of a legacy peer: some ten thousand names.
pub const LEGACY_LIST_BYTES: usize = 1 << 20;
/// GET_FILE retries the only source for this long: a person waits at the prompt.
pub const GET_FILE_RETRY_FOR: Duration = Duration::from_secs(5);
/// Wait this long for LEAVE_OK before closing.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// A draining connection has this long to send its pending bytes.
pub const LINGER: Duration = Duration::from_secs(10);
/// The first and the longest pause before a reconnect to a server or source.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// A one-shot `get` retries an unreachable source for this long.
pub const GET_RETRY_FOR: Duration = Duration::from_secs(30);
/// Retry a connection with a file that is not resident after this long.
pub const COLD_RETRY: Duration = Duration::from_millis(1);
/// After this long, read a file that is not resident by a blocking write.
pub const COLD_TIMEOUT: Duration = Duration::from_secs(2);
/// Retry a connection with a full sink after this long.
pub const SINK_RETRY: Duration = Duration::from_millis(5);
/// Keep a file open this long for the next request of the connection; an open file prevents
/// unmounting.
pub const KEPT_OPEN: Duration = Duration::from_millis(400);
/// Report progress this often.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// A download checks this often for a faster source of a slow source's piece.
pub const TAKEOVER_INTERVAL: Duration = Duration::from_millis(100);
/// Search for further sources this often: initially, since new peers soon have pieces, and later.
pub const SOURCE_SEARCH_INTERVALS: (Duration, Duration) =
    (Duration::from_millis(300), Duration::from_secs(2));
/// Searches at the initial interval.
pub const EAGER_SEARCHES: u32 = 10;
/// A PIECES request waits this long for a new file to be noticed and debounced.
pub const HASH_LIST_WAIT: Duration = Duration::from_secs(8);
/// Ask the next source as well after this long without a byte: some round trips.
pub const HEDGE: Duration = Duration::from_millis(300);
/// The same for a source that has sent bytes: a rate limit delivers in bursts.
pub const DELIVERY_GAP: Duration = Duration::from_millis(1_500);
/// Fewer bytes than this count as silence: a trickle must not hold up a download.
pub const HEDGE_BYTES: u64 = 4 << 10;
/// Parallel requests for the hash list when the first sources are silent: enough to pass hundreds
/// of silent sources in seconds.
pub const HASH_LISTS_AT_ONCE: u32 = 16;
/// A source may occupy the hash list, or the piece that proves the list, for this long.
pub const HASH_LIST_TIMEOUT: Duration = Duration::from_secs(3);
/// Collect new pieces this long before a HAVE.
pub const HAVE_DELAY: Duration = Duration::from_millis(75);
/// Report a download as stalled after this long without a byte.
pub const STALLED_NOTICE: Duration = Duration::from_secs(3);

/// A request to the date service: real requests have three hundred bytes, the rest allows for
/// headers.
pub const SOAP_BYTES: usize = 64 << 10;

/// The body of a request of the page: an invite with the longest names has four kilobytes.
pub const API_BODY_BYTES: usize = 16 << 10;

/// The life of a browser session: a day of work.
pub const SESSION_SECONDS: u64 = 12 * 3_600;
/// Browser sessions of a server: each holds two hundred bytes.
pub const SESSIONS: usize = 10_000;
/// Of these, sessions of one address: a school behind one router.
pub const SESSIONS_OF_ONE: usize = 1_000;
/// Depth of XML elements in a request: real requests have three levels.
pub const SOAP_DEPTH: usize = 32;
/// Attributes per XML element: each is compared to all others.
pub const SOAP_ATTRIBUTES: usize = 32;

/// A query string: the longest search, percent-encoded, with a cursor.
pub const QUERY_STRING_BYTES: usize = 8 << 10;
/// Parameters of a query string: a handful are known.
pub const QUERY_STRING_FIELDS: usize = 32;
/// Connections to the live events, with one event a second: a class of students, well under a
/// millisecond.
pub const LISTENERS: usize = 64;
/// Of these, connections per remote address: a family behind a router.
pub const ADDRESS_LISTENERS: usize = LISTENERS / 4;
/// Bytes of pending events at which a listener gets no further events.
pub const LISTENER_BYTES: usize = 32 << 10;
/// Interval of live events and of the history.
pub const LIVE_STEP: Duration = Duration::from_secs(1);
/// Length of the history in steps: five minutes, in 15 KiB.
pub const LIVE_STEPS: usize = 300;
/// Transfers listed individually: more than a person reads.
pub const SHOWN_TRANSFERS: usize = 200;
/// The least time between two transfer reports of a peer, and the delay after a change.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes accepted per transfer report: 100 Gbit/s for half a minute.
pub const REPORT_BYTES: u64 = 400 << 30;
/// Transfers accepted per report: the usual number of connections.
pub const REPORT_TRANSFERS: u64 = 10_000;

/// A record of ONC RPC: three names of 255 bytes and two authenticators of 400 take less than half.
pub const RPC_RECORD_BYTES: usize = 4 << 10;
/// Fragments per record: real clients send a single fragment, and each costs a check.
pub const RPC_FRAGMENTS: usize = 64;
/// Connections to a log server: one per index, and some for tools.
pub const RPC_CONNECTIONS: usize = 256;
/// Close an idle connection to a log server after this long: an unused index keeps its connection
/// over night.
pub const RPC_IDLE: Duration = Duration::from_secs(24 * 3600);
/// Log entries that wait for the log server: a busy minute's, in a quarter of a megabyte.
pub const LOG_RECORDS: usize = 1_000;
/// Of these, calls in progress: enough to hide a round trip, few enough for a slow server.
pub const LOG_CALLS: usize = 16;

/// The name of a metric: ours have at most twenty bytes.
pub const METRIC_NAME_BYTES: usize = 64;
/// Metrics per response: ours has some forty.
pub const METRICS: usize = 1_000;
/// QUIC connections per port: each costs some ten kilobytes before any transfer.
pub const QUIC_CONNECTIONS: usize = 1_024;
/// Of these, connections without a validated address: possibly a forged datagram.
pub const QUIC_HANDSHAKES: usize = 256;
/// QUIC handshakes per address: each costs a signature and a key exchange, a third of a
/// millisecond.
pub const QUIC_HANDSHAKES_OF_ONE: usize = QUIC_HANDSHAKES / 4;
/// Accepted TLS handshakes in progress: each holds up to a hello of 16 KiB and the keys.
pub const TLS_HANDSHAKES: usize = 512;
/// Of these, handshakes of one address: a crowd behind one router.
pub const TLS_HANDSHAKES_OF_ONE: usize = 32;
/// QUIC connections per address.
pub const QUIC_CONNECTIONS_OF_ONE: usize = QUIC_CONNECTIONS / 4;
/// Pieces that a player waits for: the current and the next piece, so that playback never reaches
/// the end of data.
pub const PLAY_NOW: u64 = 2;
/// Pieces ahead of a player requested before the rest: half a minute of a film, seconds of
/// uncompressed video.
pub const PLAY_AHEAD: u64 = 32;
/// Pieces at both ends of a file requested first: the tables of an hour of film take less.
pub const PLAY_ENDS: u64 = 2;
/// Request pipeline of a source during playback, in time: requests already sent precede an urgent
/// piece.
pub const PLAY_DEPTH: Duration = Duration::from_millis(60);
/// Urgent pieces requested beyond the usual depth; the total stays below [`FETCHES`].
pub const PLAY_URGENT: usize = 2;
/// Extra time allowed per piece between the player and a piece: its duration at 100 Mbit/s.
pub const PLAY_SLACK: Duration = Duration::from_millis(80);
/// Connections of players per process: a player has two or three.
pub const PLAYERS: usize = 64;
/// Files playable at once per process; the file requested longest ago, without a reader, makes
/// room.
pub const PLAYED_FILES: usize = 16;
/// Bytes queued for a player; all bytes stay in the file, so that more would gain nothing.
pub const PLAY_QUEUE_BYTES: u64 = 1 << 20;
/// A player may leave its output unread this long, such as over night. A player that exits closes
/// its connections.
pub const PLAYER_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Browser connections to a gateway: a browser has six, and a person a few browsers.
pub const GATEWAY_CONNECTIONS: usize = 64;
/// A request header to a gateway, and the header of a response on its way through: browsers send
/// two KiB.
pub const GATEWAY_HEADER_BYTES: usize = 16 << 10;
/// Bytes of a response that wait for a browser; beyond, the other side is not read.
pub const GATEWAY_QUEUE_BYTES: usize = 512 << 10;

/// Subscriptions per connection.
pub const CONNECTION_SUBSCRIPTIONS: usize = 64;
/// Subscriptions of all connections: two megabytes of names.
pub const SUBSCRIPTIONS: usize = 20_000;
/// Of these, subscriptions by words: each is matched against each name that comes or goes.
pub const SUBSCRIBED_PATTERNS: usize = 1_000;
/// Subscriptions per remote address: a class of students.
pub const ADDRESS_SUBSCRIPTIONS: usize = SUBSCRIPTIONS / 4;
/// Of these, subscriptions by words.
pub const ADDRESS_PATTERNS: usize = SUBSCRIBED_PATTERNS / 4;
/// Undelivered events; beyond, subscribers get MISSED.
pub const EVENT_BACKLOG: usize = 100_000;
/// Bytes of the names in undelivered GONE events.
pub const EVENT_NAME_BYTES: usize = 8 << 20;
/// Table look-ups for events per iteration: about half a millisecond.
pub const EVENT_BUDGET: usize = 2_000;
