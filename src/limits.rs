//! Limits, each with its reason.

use std::time::Duration;

/// The largest integer that the protocol names: what a double can hold exactly, for clients whose numbers are doubles.
pub const LARGEST_INTEGER: u64 = (1 << 53) - 1;
/// How deep objects and lists of a head may be nested, the head itself included: what common readers of JSON take.
pub const NESTED: usize = 127;
/// Members of one JSON object: many times what any method has, and few enough to look for a key that comes twice.
pub const MEMBERS: usize = 256;
/// A file name, in bytes: what the usual file systems hold.
pub const NAME_BYTES: usize = 255;
/// The name of a shared file with the folders that lead to it, in bytes: a list of them still fits into a head.
pub const RELATIVE_BYTES: usize = 1_024;
/// Its parts: deeper trees are backups rather than shares.
pub const RELATIVE_PARTS: usize = 16;

/// A head before the opening was read, to a peer, or in any answer: some hundred files of a list.
pub const HEAD_BYTES: usize = 64 << 10;
/// A head to the server after the opening: a JOIN part.
pub const JOIN_BYTES: usize = 1 << 20;
/// Files in one JOIN or UPDATE part: about what [`JOIN_BYTES`] can hold, so that a list of tiny entries costs no more than one of long names.
pub const PART_FILES: usize = 20_000;
/// Files of one peer: more than any disk of videos, less than the memory of a server.
pub const MEMBER_FILES: usize = 10_000_000;
/// Files of all peers of one address that is not this machine's; one that joins again counts twice for a moment.
pub const FILES_OF_ONE: usize = 2 * MEMBER_FILES;
/// What part of the memory of an index the files of one peer may take: one over this. Two of them leave no room for others, one does.
pub const MEMBER_SHARE: usize = 2;
/// What part of the memory of its machine an index may take, where nobody says it: one over this. The rest is for links, bodies, and other programs.
pub const MEMORY_SHARE: u64 = 2;
/// The least memory that an index works with, in bytes: its empty tables take half a megabyte.
pub const LEAST_MEMORY: u64 = 4 << 20;
/// Files that our own peer puts into one JOIN part: the server indexes them in well under a millisecond.
pub const JOIN_PART_FILES: usize = 1_000;
/// And their bytes, whatever the length of the names.
pub const JOIN_PART_BYTES: usize = 48 << 10;
/// Files that all JOINs and UPDATEs together bring into the index in one turn: about 1 ms. The rest of a part waits for the next.
pub const ADD_FILES: usize = 1_000;
/// Of these, how many of one peer before the next has its turn.
pub const ADD_SLICE: usize = 500;
/// How long what is new may wait to be made quick to find by its words while more keeps coming; until then it costs searches a look at each.
pub const BUILD_LAG: Duration = Duration::from_secs(3);
/// Entries that the index drops in one turn when a peer with many files has left: about 1.5 ms where all of them were built.
pub const SWEEP_FILES: usize = 1_000;
/// A manifest, in bytes: some 100,000 lines, each of which costs a look at a disk before the loop begins.
pub const MANIFEST_BYTES: u64 = 16 << 20;
/// Files of a manifest that one look around looks at: under 5 ms.
pub const MANIFEST_LOOKS: usize = 500;
/// The words of a search, in bytes: what a name and what is said of it can hold.
pub const FIND_BYTES: usize = RELATIVE_BYTES + NAME_BYTES;
/// Words of a search: more than anybody types, and each of them is looked for in every text.
pub const QUERY_WORDS: usize = 32;
/// Extensions that a search may name: all that a kind of files has.
pub const QUERY_EXTENSIONS: usize = 16;
/// One of them, in bytes: longer ones are parts of a name.
pub const EXTENSION_BYTES: usize = 16;
/// Entries in one answer to a search by words or filters, as in other lists.
pub const QUERY_ENTRIES: usize = 256;
/// The cursor of a search, in bytes: in the order of names it holds one, with two numbers.
pub const QUERY_CURSOR_BYTES: usize = RELATIVE_BYTES + CURSOR_BYTES;
/// What searches look at in one turn, in bytes of text with some for each text: under a millisecond. What is not done goes on in the next turn.
pub const FIND_EFFORT: usize = 512 << 10;
/// What one of several searches looks at before the next has its turn, in bytes as above: most of them are done with less.
pub const FIND_SLICE: usize = FIND_EFFORT / 4;
/// How long a search may take: a server that is so busy says what it has found by then, or that it is.
pub const SEARCH_PATIENCE: Duration = Duration::from_secs(20);
/// What one turn builds of the index by words, in bytes as above: some two hundred names, under a millisecond.
pub const BUILD_EFFORT: usize = 32 << 10;

/// A body: one piece, so that a change of mind or of file costs at most this much.
pub const BODY_BYTES: u64 = 1 << 20;
/// What is hashed, asked for and blamed as one: the same as a body, so that a wrong one costs one body.
pub const PIECE_BYTES: u64 = BODY_BYTES;
/// Pieces of a file that has a root: 4 TiB, whose list of pieces takes 128 MiB.
pub const PIECES: u64 = 4 << 20;
/// A file that is downloaded: 64 TiB, of whose pieces a set takes 8 MiB. Whoever names more has made it up.
pub const DOWNLOAD_BYTES: u64 = 16 * PIECES * PIECE_BYTES;
/// Runs of pieces in one HAVE: what a head holds.
pub const HAVE_RUNS: usize = 2_000;
/// Holders in one SEARCH answer: more sources than anybody can use at once.
pub const HOLDERS: usize = 64;
/// Entries in one PEERS or LS answer.
pub const LIST_ENTRIES: usize = 256;
/// Bytes of entries in one answer: what [`HEAD_BYTES`] leaves beside the frame.
pub const LIST_BYTES: usize = 60 << 10;
/// Sources of one download: more than any line can use at once.
pub const SOURCES: usize = 64;
/// Peers that are remembered for one download besides its sources: an index that names more names them again later.
pub const CANDIDATES: usize = 512;
/// FETCH requests under way on one link.
pub const FETCHES: usize = 16;
/// Links that a load generator begins before it waits for some of them: what a server takes in a turn or two, and far below [`BACKLOG`].
pub const SWARM_CONNECTS: usize = 512;
/// Requests under way on one link while a load generator fills a server that has no lists: more of them fill it no quicker.
pub const SWARM_FILLS: usize = 256;
/// A cursor, in bytes.
pub const CURSOR_BYTES: usize = 64;

/// One write from a mapped file: with 256 KiB the system call shows, with more than 1 MiB other links wait without gain.
pub const SLICE_BYTES: usize = 1 << 20;
/// One read from a socket: the scratch is shared by all links and stays in the second-level cache.
pub const SCRATCH_BYTES: usize = 256 << 10;
/// Bytes that one turn moves over all links: about 2 ms, where each of them is hashed and written.
pub const TURN_BYTES: usize = 2 << 20;
/// Requests handled for one link in one visit.
pub const VISIT_REQUESTS: usize = 32;
/// Answers made for one link in one visit, in bytes: a page of a list takes about a fifth of a millisecond, and the others wait meanwhile.
pub const VISIT_ANSWER_BYTES: usize = 64 << 10;
/// What a byte of an answer costs of [`TURN_BYTES`]: to make it takes about as long as to move this many bytes of a file.
pub const ANSWER_COST: usize = 4;
/// Pages of our own list that are remembered, so that the next page is found without a walk over all files before it.
pub const LIST_MARKS: usize = 64;
/// Room that is made at once for the answers of one visit: those to [`VISIT_REQUESTS`] searches, each with five holders.
pub const ANSWERS_ROOM: usize = 20 << 10;
/// Unread requests, in bytes, that are worth [`ANSWERS_ROOM`]: some ten searches.
pub const MANY_REQUESTS: usize = 640;
/// Answers that wait for a reader before its requests are no longer read.
pub const HIGH_WATER: usize = 1 << 20;
/// A chunk of a send queue takes no more answers when it has this many bytes: it is freed only when all of it is sent.
pub const QUEUE_CHUNK_BYTES: usize = 64 << 10;
/// Bytes of all send queues together; beyond, a connection is read only while [`SMALL_QUEUE_BYTES`] of answers wait.
pub const ALL_QUEUES_BYTES: usize = 128 << 20;
/// Of these, how many for one address: a slow reader with 32 connections.
pub const QUEUES_OF_ONE: usize = ALL_QUEUES_BYTES / 4;
/// Answers that may wait on each connection even when the send queues are over their bound, so that small answers always pass.
pub const SMALL_QUEUE_BYTES: usize = 4 << 10;
/// Bytes of all half-received heads together.
pub const ALL_HEADS_BYTES: usize = 64 << 20;
/// Of these, how many for one address: 32 JOIN parts at once.
pub const HEADS_OF_ONE: usize = ALL_HEADS_BYTES / 2;
/// What an address may use of a resource that others have used up: a JOIN part and a full send queue.
pub const RESERVE_BYTES: usize = JOIN_BYTES + SCRATCH_BYTES;
/// A connection that a bound over many has stopped is looked at again after this.
pub const ROOM_RETRY: Duration = Duration::from_millis(100);
/// A connection that has moved nothing for this long is closed first where memory runs short.
pub const STANDS: Duration = Duration::from_secs(2);
/// A half-received head that is kept even when [`ALL_HEADS_BYTES`] are in use, so that small requests always pass.
pub const SMALL_HEAD_BYTES: usize = 4 << 10;
/// One address may have one in this many of all connections: there are classes of 200 behind one router.
pub const LINKS_SHARE: usize = 4;
/// And at least this many, however few there may be.
pub const LINKS_OF_ONE: usize = 16;
/// Connections beyond the bound, accepted only to be told `busy`; they use descriptors of [`SPARE_DESCRIPTORS`].
pub const TURNED_AWAY: usize = 16;
/// How long a connection that is told `busy` may take to say what it wants: with some round trips, no longer than people wait.
pub const TURN_AWAY: Duration = Duration::from_secs(2);
/// Links accepted in one turn: a flood of connects must not starve those that are there.
pub const TURN_ACCEPTS: usize = 256;
/// Connects that wait in the kernel: with 128, ten thousand at once take half a minute.
pub const BACKLOG: i32 = 4_096;
/// Lines of a piped stdin handled in one turn.
pub const TURN_COMMANDS: usize = 16;
/// A typed or piped command line.
pub const COMMAND_BYTES: usize = 4 << 10;
/// Bytes of stdout or stderr that wait for a reader; lines beyond are dropped and counted.
pub const OUTPUT_BYTES: usize = 8 << 20;
/// One line of stdout: a person's JOIN of a hundred thousand files is shown whole, one of ten million is not.
pub const LINE_BYTES: usize = 64 << 20;
/// File descriptors kept for files while links take the others.
pub const SPARE_DESCRIPTORS: u64 = 64;

/// Folders below a shared one that are watched for changes: what a person is usually allowed, with room for other programs.
pub const WATCHES: usize = 8_192;

/// Names of which something was heard and that have not come to rest; with more of them the whole folder is looked at again.
pub const TOUCHED: usize = 20_000;
/// Patterns of names that are not shared: each name is held against all of them.
pub const EXCLUDES: usize = 1_000;
/// Bytes of the file of such patterns that are read.
pub const IGNORE_BYTES: usize = 64 << 10;
/// Files up to this size are read to see whether they are secret keys: chains of certificates with their key are smaller.
pub const SECRET_BYTES: usize = 64 << 10;
/// Files that are looked at in one turn: each costs some microseconds.
pub const LOOKS: usize = 500;
/// Files that others want and that are hashed before all others; who asks for more is served in the usual order.
pub const URGENT_FILES: usize = 1_024;
/// Files that are being hashed at once: one, and those that it went before; each holds an open file and its values so far.
pub const HASHINGS: usize = 4;
/// Lists of pieces that are kept at hand: a giant file's takes a megabyte or two, and reading it again is cheap.
pub const LISTS_AT_HAND: usize = 16;

/// How much of a file is mapped at a time: what was mapped must be unmapped, and a hundred gigabytes in one go would hold up the loop for a second.
pub const WINDOW_BYTES: u64 = 64 << 20;
/// What is asked of the kernel ahead of a cold file's place.
pub const AHEAD_BYTES: u64 = 4 << 20;
/// Dirty bytes of a download before its link is no longer read, until the disk has caught up.
pub const DIRTY_BYTES: u64 = 64 << 20;
/// Received bytes between two nudges to the disk.
pub const FLUSH_BYTES: u64 = 8 << 20;
/// Bytes between two moments at which a download is made to survive a power cut: each of them costs a wait for the disk.
pub const LASTING_BYTES: u64 = 256 << 20;
/// Bytes of a `get -o -` that wait for the reader of stdout.
pub const STDOUT_BYTES: usize = 1 << 20;

/// One read of a file that is hashed: it stays in the second-level cache, and a disk that must be waited for is waited for no longer than this takes.
pub const HASH_READ_BYTES: usize = 256 << 10;
/// Lists of pieces kept in memory, in bytes: those of 2 TiB of files.
pub const REMEMBERED_LIST_BYTES: usize = 64 << 20;
/// Lists of pieces kept on disk, in bytes: those of 32 TiB of files.
pub const CACHED_LIST_BYTES: u64 = 1 << 30;
/// Files whose roots are kept: to read them all at the start takes some tenths of a second.
pub const CACHED_ROOTS: usize = 400_000;
/// What is read of the roots on disk: all that can be of use, with as many stale ones among them.
pub const CACHED_ROOT_BYTES: u64 = 128 << 20;
/// How old a change must be for a stamp to be trusted: another one within the same tick of the coarsest file systems would not show.
pub const SETTLED: Duration = Duration::from_secs(2);

/// From connect to a whole opening or HTTP head.
pub const OPENING: Duration = Duration::from_secs(10);
/// How long before the end of [`OPENING`] an old wire is told that its request never became whole.
pub const LAST_WORDS: Duration = Duration::from_millis(200);
/// From the first to the last byte of a later head.
pub const HEAD: Duration = Duration::from_secs(30);
/// How long a side may take no byte of what waits for it.
pub const STALLED_WRITE: Duration = Duration::from_secs(60);
/// How often within that time the system is asked whether it delivers what it has taken from us: a stall is timed to one part of so many.
pub const STALL_LOOKS: u32 = 16;
/// How long a giver may send no byte of a body that it began.
pub const STALLED_READ: Duration = Duration::from_secs(60);
/// How long a connect may take.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take that needs no person.
pub const ANSWER: Duration = Duration::from_secs(30);
/// How long the answer to a PING may take at least, however short the heartbeat: a machine under load is not dead.
pub const PONG: Duration = Duration::from_secs(2);
/// How long a person may think before it means no.
pub const CONSENT: Duration = Duration::from_secs(60);
/// How long our own download stands in somebody's queue: giant files before it take hours. A dead link is noticed by [`KEEPALIVE`].
pub const IN_QUEUE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a link may be silent before the kernel asks whether the other side is still there.
pub const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long an HTTP request waits for an upload slot.
pub const HTTP_SLOT: Duration = Duration::from_secs(60);
/// An idle HTTP link.
pub const HTTP_IDLE: Duration = Duration::from_secs(60);
/// The usual heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long a word of an old wire that nothing ends is waited for to go on.
pub const QUIET: Duration = Duration::from_millis(50);
/// How long a pause between two parts of an answer is: readers of ufabc-json take what comes at once for one of them.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Entries of one answer to LIST_USERS, LIST_CONTENT, `peers` or `ls` on an old wire, which has no pages: some megabytes of them.
pub const LIST_ALL: usize = 50_000;
/// Entries of such an answer on the wire of UC3M: its count has four digits.
pub const LIST_FOUR_DIGITS: usize = 9_999;
/// The name of an operation on a UC3M wire with what ends it: the longest has twelve letters, and what is longer is no operation.
pub const OPERATION_BYTES: usize = 32;
/// A field of a UC3M request with its NUL; no request has more than five, so that none is longer than 1.3 KiB.
pub const FIELD_BYTES: usize = NAME_BYTES + 1;
/// Objects and lists inside of each other in a request of ufabc-json, whose own nest three deep.
pub const UFABC_JSON_DEPTH: usize = 8;
/// One object of a peer of ufabc-json that is asked for a file: its own downloader reads no more.
pub const UFABC_JSON_ANSWER_BYTES: usize = 1 << 10;
/// Times that one object of ufabc-json is read although nothing has ended it: each costs as much as a whole one, and real ones come in one piece.
pub const GUESSES: usize = 16;
/// The path of a folder that a peer of ufabc-json names: what the kernel takes for one.
pub const FOLDER_BYTES: usize = 4 << 10;
/// A word of rede-p2p with its name: [`RELATIVE_BYTES`] with room to spare.
pub const REDE_WORD_BYTES: usize = 2 << 10;
/// How long a provider whose wire names no size may be silent before the transfer stops there. Silence proves no end, so the download then fails.
pub const FOREIGN_END: Duration = Duration::from_secs(10);
/// The largest file for which the two answers of profile 2020 are told apart before a byte is stored: it must fit into the head of a link.
pub const UC3M_HELD_BYTES: u32 = 65_500;
/// And for a list there: what is lost with its end is some names.
pub const FOREIGN_LIST_END: Duration = Duration::from_secs(1);
/// The list of a peer that speaks an old wire: some ten thousand names.
pub const FOREIGN_LIST_BYTES: usize = 1 << 20;
/// A list that a console keeps in a file, in bytes: [`LIST_ALL`] users with the longest names.
pub const NOTE_BYTES: u64 = 32 << 20;
/// How long GET_FILE goes on without the one source that it has: somebody sits at the prompt and waits for a yes or a no.
pub const GET_FILE_PATIENCE: Duration = Duration::from_secs(5);
/// How long no account must have changed before the store tidies up: that holds up the loop for some milliseconds.
pub const STORE_REST: Duration = Duration::from_secs(1);
/// How long we wait for LEAVE_OK before we go all the same.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// How long a closed link may take to hand over what waits.
pub const LINGER: Duration = Duration::from_secs(10);
/// The first and the longest pause before a lost server or source is tried again.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// How long a one-shot `get` tries to reach a source again before it gives up.
pub const GET_PATIENCE: Duration = Duration::from_secs(30);
/// A link whose file is not in memory is tried again after this.
pub const COLD_RETRY: Duration = Duration::from_millis(1);
/// The kernel is reminded of what we wait for after this.
pub const COLD_REMINDER: Duration = Duration::from_millis(250);
/// A file that is not in memory after this is read by a blocking write.
pub const COLD_PATIENCE: Duration = Duration::from_secs(2);
/// A link whose sink has no room is tried again after this.
pub const SINK_RETRY: Duration = Duration::from_millis(5);
/// How long a new or changed file must be left alone before it is published: a copy that pauses is not done.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How often the folder is looked at: a look costs one system call, and a file takes seconds to settle anyway.
pub const LOOK: Duration = Duration::from_millis(500);
/// And when the last look found something, so that a thousand events at once do not pile up.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a file stays open for the next request of the same link: what is open keeps its disk from being unmounted.
pub const KEPT_OPEN: Duration = Duration::from_millis(400);
/// How often everything is looked at where the system tells of changes: some changes are told by nobody.
pub const RESCAN: Duration = Duration::from_secs(60);
/// And where it does not tell.
pub const RESCAN_BLIND: Duration = Duration::from_secs(2);
/// A look at everything is followed by so many times its own length of rest, so that a slow disk is not kept busy.
pub const RESCAN_RESTS: u32 = 4;
/// Between two slices of it: a slice takes a millisecond.
pub const RESCAN_PACE: Duration = Duration::from_millis(5);
/// The longest of these rests: a change is seen at last.
pub const RESCAN_MOST: Duration = Duration::from_secs(600);
/// How often progress is told.
pub const PROGRESS: Duration = Duration::from_millis(200);
/// How often a download looks whether somebody could take over from a slow source.
pub const TAKE_OVER: Duration = Duration::from_millis(100);
/// How often the index is asked who else has a file that is being downloaded: at first, for those who began with us have something soon, and later.
pub const SEEK: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
/// How many times that is asked at first.
pub const EAGER_SEEKS: u32 = 10;
/// How long somebody who asks for the pieces of a file that has just come waits for it to be noticed and to settle.
pub const NOTICE: Duration = Duration::from_secs(8);
/// How long a source may be silent before a download asks the next one as well: some round trips.
pub const HEDGE: Duration = Duration::from_millis(300);
/// A source that has sent something is silent after so long: a rate limit gives its bytes in bursts.
pub const DELIVERY_GAP: Duration = Duration::from_millis(1_500);
/// Fewer bytes than this since a source was last heard count as silence: a trickle must not hold up a download.
pub const HEDGE_BYTES: u64 = 4 << 10;
/// Sources that are asked for the list of pieces at once when the first ones are silent: enough to get past hundreds of them in seconds.
pub const LISTS_AT_ONCE: u32 = 16;
/// How long one source that sends may keep the list of pieces, or the piece that proves it, from all others.
pub const LIST_PATIENCE: Duration = Duration::from_secs(3);
/// How long new pieces wait for others before those who download from us are told of them.
pub const HAVE: Duration = Duration::from_millis(75);
/// A download that moved nothing for so long is called stalled.
pub const STALLED: Duration = Duration::from_secs(3);

/// Users that are kept without a disk: more than any school has, and some tens of megabytes.
pub const MEMORY_USERS: usize = 200_000;
/// Publications that are kept without a disk: about a gigabyte where every name and description is as long as can be.
pub const MEMORY_PUBLICATIONS: usize = 1_000_000;
/// Pages of a store's log before they are moved into the store itself: 4 MiB, which take some milliseconds.
pub const LOG_PAGES: u64 = 1_000;
/// And when nothing else is to be done: fewer are not worth the wait for the disk.
pub const IDLE_LOG_PAGES: u64 = 100;
/// Publications of users who are gone that a store drops in one go: with the wait for the disk some milliseconds.
pub const SWEEP_ROWS: usize = 500;
/// A store's log on disk once it is empty again, in bytes: what one huge change took is given back.
pub const LOG_BYTES: u64 = 16 << 20;
/// Memory of a store for what it reads of its disk, in KiB: the inner pages of some ten million publications.
pub const STORE_CACHE_KIB: u64 = 16 << 10;
/// How long the store of a server waits for another program that writes there: the whole loop waits with it.
pub const STORE_BUSY: Duration = Duration::from_millis(100);
/// A row of a CSV file, in bytes: two lines of text in which every character had to be doubled, with room for what stands between.
pub const ROW_BYTES: usize = 4 << 10;
/// Rows of a store that are read in one go for an export: some hundred kilobytes.
pub const EXPORT_ROWS: usize = 1_000;
/// A question to the date service, in bytes: a real one has three hundred, and the rest is for headers that somebody adds.
pub const SOAP_BYTES: usize = 64 << 10;
/// Elements within each other in one: a real one has three, and a reader that remembers them all must not be fed a tower.
pub const SOAP_DEPTH: usize = 32;
/// Attributes of one element in it: each of them is compared to all others.
pub const SOAP_ATTRIBUTES: usize = 32;

/// What follows `?` in a path, in bytes: the longest words of a search with each byte spelled `%XX`, and a cursor.
pub const QUERY_BYTES: usize = 8 << 10;
/// Parameters in it: a handful are known.
pub const QUERY_FIELDS: usize = 32;
/// Those who watch a process live, each of whom gets an event a second: a class of students, whose events take well under a millisecond.
pub const LISTENERS: usize = 64;
/// Of these, how many from one address that is not this machine's: a family behind one router.
pub const LISTENERS_OF_ONE: usize = LISTENERS / 4;
/// Bytes of events that wait for one of them; who takes none of them gets no more until they are gone.
pub const LISTENER_BYTES: usize = 32 << 10;
/// How often those who watch are told, and how long a step of the chart is.
pub const LIVE_STEP: Duration = Duration::from_secs(1);
/// Steps of the chart that are remembered: five minutes, in 15 KiB.
pub const LIVE_STEPS: usize = 300;
/// Transfers of a peer that are shown one by one: more than a person reads.
pub const SHOWN_TRANSFERS: usize = 200;
/// How often at most a peer says what it has moved, and how soon after a change.
pub const MOVED_PAUSE: Duration = Duration::from_secs(1);
/// Bytes that a peer is believed to have moved since it last said so: what 100 Gbit/s move in half a minute.
pub const MOVED_BYTES: u64 = 400 << 30;
/// Transfers that a peer is believed to have under way: as many as it has links in the usual case.
pub const MOVED_TRANSFERS: u64 = 10_000;

/// A record of ONC RPC: three names of 255 bytes and two proofs of identity of 400 take less than half of it.
pub const RPC_RECORD_BYTES: usize = 4 << 10;
/// Fragments of one record: real writers send one, and each of them costs a look.
pub const RPC_FRAGMENTS: usize = 64;
/// Links to a log server: one for each index, with room for the tools of those who look after it.
pub const RPC_LINKS: usize = 256;
/// How long a link to a log server may be silent: an index that nobody uses over night keeps its own.
pub const RPC_IDLE: Duration = Duration::from_secs(24 * 3600);
/// Operations that wait for the log server: what a busy minute brings, in a quarter of a megabyte.
pub const LOG_RECORDS: usize = 1_000;
/// Of these, how many are under way: enough to hide the way there and back, few enough for a server that reads slowly.
pub const LOG_CALLS: usize = 16;

/// What a figure of STATUS may be called, in bytes: ours have at most twenty.
pub const FIGURE_NAME: usize = 64;
/// Figures of one answer that are shown: ours has some forty.
pub const FIGURES: usize = 1_000;
/// Connections by QUIC at one port: each costs some ten kilobytes before it carries anything.
pub const QUIC_CONNECTIONS: usize = 1_024;
/// Of these, how many may not have shown yet that they are more than a datagram with somebody's address on it.
pub const QUIC_HANDSHAKES: usize = 256;
/// From how many of these on everybody has to answer from his address first (a Retry): that costs a real client one round trip.
pub const QUIC_DOUBTS: usize = 8;
/// Handshakes of one address that are under way: each costs a signature and a key exchange, about a third of a millisecond.
pub const QUIC_HANDSHAKES_OF_ONE: usize = QUIC_HANDSHAKES / 4;
/// Connections by QUIC of one address.
pub const QUIC_CONNECTIONS_OF_ONE: usize = QUIC_CONNECTIONS / 4;
/// Handshakes that one iteration begins: about a millisecond, so that TCP keeps half of the time under any flood.
pub const QUIC_TURN_HANDSHAKES: usize = 3;
/// What a datagram that begins a connection costs of [`QUIC_TURN_BYTES`], whatever comes of it: keys are derived for it.
pub const QUIC_OPENING_COST: usize = 32 << 10;
/// What a datagram costs of it that is answered at once, or belongs to a handshake under way.
pub const QUIC_HANDSHAKE_COST: usize = 8 << 10;
/// How long a connection may take to come about.
pub const QUIC_HANDSHAKE: Duration = Duration::from_secs(5);
/// And how long a download waits for it before TCP takes over: a way there and back takes a fifth of a second at most, and a lost datagram comes again.
pub const QUIC_PATIENCE: Duration = Duration::from_secs(2);
/// Streams at once on one connection: a download takes one.
pub const QUIC_STREAMS: u64 = 64;
/// What one connection may have on its way to who asks: a gigabit a second for a fifth of a second.
pub const QUIC_WINDOW_BYTES: u64 = 25 << 20;
/// What it may have on its way to who answers: requests, which are small.
pub const QUIC_ASKED_BYTES: u64 = 1 << 20;
/// What is kept of a connection's bytes until the other side has them: at first, at most, and of all connections together.
pub const QUIC_UNSENT_BYTES: (u64, u64, u64) = (512 << 10, 32 << 20, 512 << 20);
/// The largest datagram that is tried: what crosses an Ethernet with long frames, and the loopback.
pub const QUIC_DATAGRAM_BYTES: u16 = 8_952;
/// What the kernel may keep of datagrams at one socket: those of some milliseconds.
pub const QUIC_SOCKET_BYTES: usize = 4 << 20;
/// Bytes of datagrams that one turn takes in or sends: as many as of all links.
pub const QUIC_TURN_BYTES: usize = TURN_BYTES;
/// What a datagram takes of that at least: a turn of the smallest ones is no longer than one of common ones.
pub const QUIC_DATAGRAM_COST: usize = 1_000;
/// How long a UDP socket that fails again and again is left alone.
pub const QUIC_FAULT_REST: Duration = Duration::from_millis(100);
/// Bytes of a file that are read at once to be enciphered.
pub const QUIC_CHUNK_BYTES: usize = 64 << 10;
/// How long nothing may have come on a connection before it is given up.
pub const QUIC_IDLE: Duration = Duration::from_secs(30);
/// How long who asks is silent at most, so that ways on which addresses are translated stay open.
pub const QUIC_KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a connection that no link uses is kept by who asks, for the next one, and by who answers.
pub const QUIC_UNUSED: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(15));
/// How often in a row the other side's machine may say that nobody is there before it is believed.
pub const QUIC_REFUSALS: u32 = 3;
/// How many such words one turn takes in: anybody can send them.
pub const QUIC_REFUSALS_A_TURN: usize = 64;
/// Pieces from the place where a player reads that it waits for at this moment: the one that it is in, and the next, so that it never runs into its end.
pub const WATCH_NOW: u64 = 2;
/// Pieces ahead of a player that come before the rest of the file: half a minute of a film, some seconds of one without compression.
pub const WATCH_AHEAD: u64 = 32;
/// Pieces at the head and at the tail of a file that come first of all: the tables of an hour of film take less.
pub const WATCH_ENDS: u64 = 2;
/// How much of a giver's speed is asked ahead while somebody watches: what was asked before an urgent piece comes before it as well.
pub const WATCH_DEPTH: Duration = Duration::from_millis(60);
/// Pieces that a player waits for and that are asked of a giver beyond its usual depth; with all others they stay below [`FETCHES`].
pub const WATCH_URGENT: usize = 2;
/// For so much later a piece ahead of a player may come for each piece that lies before it: as long as one lasts at 100 Mbit/s.
pub const WATCH_SLACK: Duration = Duration::from_millis(80);
/// Links of players to one process: a player has two or three, and nobody watches more than some files at once.
pub const WATCHERS: usize = 64;
/// Files that can be watched at once in one process; the one that was asked for longest ago, and that nobody reads, makes way.
pub const PLAYS: usize = 16;
/// Bytes of a file that are set down to go out to a player next; they are still in the file, and more of them would gain nothing.
pub const WATCH_BYTES: u64 = 1 << 20;
/// How long a player may take nothing of what waits for it: whoever pauses a film in the evening goes on with it the next day. A player that has ended
/// closes its links, so that nothing but a pause is ever that long.
pub const PLAYER_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// SUBSCRIBEs of one link: a person waits for a few things, a program for some more.
pub const LINK_SUBSCRIPTIONS: usize = 64;
/// SUBSCRIBEs of all links: two megabytes of names.
pub const SUBSCRIPTIONS: usize = 20_000;
/// Of these, how many wait for words: each of them is held against each name that comes or goes.
pub const SUBSCRIBED_PATTERNS: usize = 1_000;
/// SUBSCRIBEs of one address that is not this machine's: a class of students.
pub const SUBSCRIPTIONS_OF_ONE: usize = SUBSCRIPTIONS / 4;
/// Of these, how many wait for words.
pub const PATTERNS_OF_ONE: usize = SUBSCRIBED_PATTERNS / 4;
/// What was shown, added or dropped and was not told yet: beyond that those who wait are told that they missed something.
pub const NEWS_BACKLOG: usize = 100_000;
/// Bytes of the names of what was dropped and was not told yet: a name of the longest kind each would take a hundred megabytes.
pub const NEWS_BYTES: usize = 8 << 20;
/// What is told in one turn, in looks at a table: about half a millisecond.
pub const NEWS_EFFORT: usize = 2_000;
/// How long `cardume watch` leaves a server alone that was lost, about.
pub const LOST_REST: Duration = Duration::from_secs(2);
