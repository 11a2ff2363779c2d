"""Every table of a perfkit database, declared once.

Times (`ts`, `dur`) are nanoseconds in the capture's own clock (`capture.clock`). Ids are local to a capture and start
at 0; every table starts with `capture_id`, which the store stamps, so adapters never see it. Names are those of
Perfetto and pprof where they have one.

Ids: `upid`/`utid` are one life of a pid/tid (pids are reused, these are not), as in Perfetto.
"""

from __future__ import annotations

import pyarrow as pa

from perfkit.schema.model import Column, Table

_ID = pa.int32()
_NS = pa.int64()
_TEXT = pa.string()
_COUNT = pa.int64()
_ADDRESS = pa.uint64()
_LABELS = pa.map_(pa.string(), pa.string())

FRAME_KINDS = (
    "user",
    "kernel",
    "hypervisor",
    "guest_user",
    "guest_kernel",
    "jit",
    "interpreted",
    "unknown",
)
SEVERITIES = ("info", "warning", "error")
AGGREGATIONS = ("sum", "last")


def _ts(doc: str, *, required: bool = False) -> Column:
    return Column("ts", _NS, doc, unit="ns", required=required)


def _utid(doc: str, *, required: bool = False) -> Column:
    return Column("utid", _ID, doc, join="thread.utid", required=required)


def _stack(doc: str) -> Column:
    return Column("stack_id", _ID, doc, join="stack.stack_id")


_CPU = Column("cpu", _ID, "logical CPU number it happened on; null where the capture does not say")

CAPTURE = Table(
    "capture",
    "one ingested file or stream",
    (
        Column("name", _TEXT, "what the user calls it: `--name`, else the file's name", required=True),
        Column("tool", _TEXT, "program that recorded it, such as `perf`", required=True),
        Column("tool_version", _TEXT, "version the tool wrote of itself"),
        Column("format", _TEXT, "adapter that read it, such as `perf.data`", required=True),
        Column("path", _TEXT, "absolute path it was read from"),
        Column("sha256", _TEXT, "digest of the content, by which the same content is recognised again"),
        Column("byte_count", _COUNT, "size of the input as read", unit="byte"),
        Column("hostname", _TEXT, "host it was recorded on"),
        Column("os_release", _TEXT, "kernel release of that host"),
        Column("arch", _TEXT, "machine as `uname -m` names it"),
        Column("cpu_count", _ID, "CPUs online when it was recorded"),
        Column("cpu_model", _TEXT, "processor as the host describes it"),
        Column("memory_bytes", _COUNT, "physical memory of the host", unit="byte"),
        Column("command", _TEXT, "command line of the recording"),
        Column("started_at", pa.timestamp("us"), "wall-clock time (UTC) of the first record, where known"),
        Column("start_ts", _NS, "earliest time in the capture", unit="ns"),
        Column("end_ts", _NS, "latest time in the capture", unit="ns"),
        Column("clock", _TEXT, "clock of every `ts` in this capture, such as `CLOCK_MONOTONIC` or `perf`"),
        Column("run_id", _TEXT, "the run this capture was taken in", join="run.run_id"),
        Column("labels", _LABELS, "labels given with `--label key=value`"),
        Column("ingested_at", pa.timestamp("us"), "when perfkit read it (UTC)"),
    ),
    key=("capture_id",),
)

RUN = Table(
    "run",
    "one `perfkit capture`: captures taken together",
    (
        Column("run_id", _TEXT, "identifies the run", required=True),
        Column("command", _TEXT, "command line of the target"),
        Column("hostname", _TEXT, "host it ran on"),
        Column("git_commit", _TEXT, "commit checked out where it ran"),
        Column("git_branch", _TEXT, "branch checked out where it ran"),
        Column("started_at", pa.timestamp("us"), "wall-clock start (UTC)"),
        Column("duration", _NS, "how long the run took", unit="ns"),
        Column("labels", _LABELS, "labels of the run"),
    ),
    key=("run_id",),
    stamped=False,
)

PROCESS = Table(
    "process",
    "one life of a pid",
    (
        Column("upid", _ID, "identifies this life; pids are reused, this is not", required=True),
        Column("pid", _ID, "process id as the kernel numbers it; -1 where the kernel had none left to report"),
        Column("name", _TEXT, "last name the main thread took"),
        Column("command", _TEXT, "executable or command line, where known"),
        Column("parent_upid", _ID, "process that forked it", join="process.upid"),
        Column("start_ts", _NS, "fork time; null when it was already running", unit="ns"),
        Column("end_ts", _NS, "exit time; null when it outlived the capture", unit="ns"),
        Column("cgroup", _TEXT, "control group path, where recorded"),
    ),
    key=("upid",),
)

THREAD = Table(
    "thread",
    "one life of a tid",
    (
        Column("utid", _ID, "identifies this life; tids are reused, this is not", required=True),
        Column("upid", _ID, "process it belongs to", join="process.upid"),
        Column("tid", _ID, "thread id as the kernel numbers it"),
        Column("name", _TEXT, "last name it took (`comm`); its earlier names are in `thread_name`"),
        Column("is_main", pa.bool_(), "whether it is the process's first thread"),
        Column("start_ts", _NS, "creation time; null when it was already running", unit="ns"),
        Column("end_ts", _NS, "exit time; null when it outlived the capture", unit="ns"),
    ),
    key=("utid",),
)

THREAD_NAME = Table(
    "thread_name",
    "a name a thread took, from `ts` on",
    (
        _utid("thread", required=True),
        _ts("when it took the name; null for the name it had when the capture began"),
        Column("name", _TEXT, "the name (`comm`)", required=True),
        Column("is_exec", pa.bool_(), "whether exec(2) gave it"),
    ),
    notes="A thread with one name has one row. `sample_named` gives each sample the name its thread had at the time.",
)

MAPPING = Table(
    "mapping",
    "a file mapped into a process",
    (
        Column("mapping_id", _ID, "identifies the mapping", required=True),
        Column("upid", _ID, "process; null for the kernel's own", join="process.upid"),
        _ts("when it was mapped; null when before the capture"),
        Column("start", _ADDRESS, "first virtual address", unit="address", required=True),
        Column("end", _ADDRESS, "first virtual address past it", unit="address", required=True),
        Column("file_offset", _ADDRESS, "offset in the file that `start` maps", unit="byte"),
        Column("path", _TEXT, "file, or a name in brackets such as `[kernel.kallsyms]`", required=True),
        Column("build_id", _TEXT, "GNU build-id of the file in lower-case hex, where recorded"),
    ),
    key=("mapping_id",),
)

FRAME = Table(
    "frame",
    "a function at an address; an inlined call is a frame of its own",
    (
        Column("frame_id", _ID, "identifies the frame", required=True),
        Column("function", _TEXT, "name for people, demangled; `[module]` or `[unknown]` where it cannot be named"),
        Column("system_name", _TEXT, "name as the linker knows it, where it differs from `function`"),
        Column("module", _TEXT, "file the code lies in, or a name in brackets; null when unknown"),
        Column("build_id", _TEXT, "GNU build-id of the module in lower-case hex, where recorded"),
        Column("source_file", _TEXT, "source file, where debug information says"),
        Column("line", _ID, "source line, where debug information says"),
        Column(
            "address",
            _ADDRESS,
            "for user code the offset in the module's file (`ip - mapping.start + mapping.file_offset`, as perf script "
            "prints it); absolute for the kernel, for run-time code and where there is no mapping",
            unit="address",
        ),
        Column("kind", _TEXT, f"one of {', '.join(FRAME_KINDS)}", required=True),
        Column("inlined", pa.bool_(), "whether the compiler inlined it into its parent frame", required=True),
        Column("is_caller", pa.bool_(), "whether `address` is a return address, so that the call lies just before it"),
    ),
    key=("frame_id",),
    notes="A function is the same function across tools when `(function, module)` agree.",
)

STACK = Table(
    "stack",
    "a node of the call tree: parents first, the outermost has no parent",
    (
        Column("stack_id", _ID, "identifies the node", required=True),
        Column("parent_id", _ID, "node of the caller; null at the outermost frame", join="stack.stack_id"),
        Column("depth", _ID, "callers above it; 0 at the outermost frame", required=True),
        Column("frame_id", _ID, "frame that is called here", join="frame.frame_id", required=True),
        Column("tree_enter", _ID, "rank of the node in a depth-first walk of the capture's call tree", required=True),
        Column("tree_leave", _ID, "largest `tree_enter` below or at this node", required=True),
        Column("is_recursive", pa.bool_(), "whether the same function is also one of its callers", required=True),
        Column("truncated", pa.bool_(), "whether the recorder cut the stack off above its outermost frame here"),
    ),
    key=("stack_id",),
    notes=(
        "`b` is below or at `a` exactly when `b.tree_enter BETWEEN a.tree_enter AND a.tree_leave`; summing that range "
        "gives a node's total, and summing over nodes that are not `is_recursive` counts recursion once."
    ),
)

METRIC = Table(
    "metric",
    "what a sample's value counts",
    (
        Column("metric_id", _ID, "identifies the metric", required=True),
        Column("name", _TEXT, "event or value name, such as `cycles` or `cpu-clock`", required=True),
        Column("unit", _TEXT, "unit of `sample.value`, such as `ns`, `byte` or `event`", required=True),
        Column("period", _COUNT, "fixed sampling period in that unit; null when by frequency or not sampled"),
        Column("frequency", _COUNT, "sampling frequency asked for; null when by period", unit="Hz"),
        Column("aggregation", _TEXT, f"how values combine: {' or '.join(AGGREGATIONS)}", required=True),
        Column("is_estimate", pa.bool_(), "whether values were derived rather than recorded", required=True),
    ),
    key=("metric_id",),
)

SAMPLE = Table(
    "sample",
    "a weight on a stack",
    (
        _ts("when; null for aggregates that have no time"),
        _utid("thread that ran"),
        _CPU,
        _stack("innermost node of the stack; null where the capture has none"),
        Column("metric_id", _ID, "what `value` counts", join="metric.metric_id", required=True),
        Column("value", pa.int64(), "weight in the metric's unit (a sampled event's period)", required=True),
    ),
    notes="In time order within a capture.",
)

FUNCTION_WEIGHT = Table(
    "function_weight",
    "what the samples of one metric weigh on a function",
    (
        Column("metric_id", _ID, "what the weights count", join="metric.metric_id", required=True),
        Column("function", _TEXT, "name as in `frame`; null for the samples without a stack"),
        Column("module", _TEXT, "module as in `frame`"),
        Column("kind", _TEXT, "kind as in `frame`", required=True),
        Column("self", pa.int64(), "weight of the samples in the function itself, in the metric's unit", required=True),
        Column(
            "total", pa.int64(), "weight of the samples in it or in what it calls; recursion counts once", required=True
        ),
        Column("self_samples", _COUNT, "samples in the function itself", required=True),
        Column("total_samples", _COUNT, "samples in it or in what it calls; recursion counts once", required=True),
        Column(
            "frame_samples",
            _COUNT,
            "its frames on the stacks of all samples; recursion counts each time",
            required=True,
        ),
    ),
    key=("metric_id", "function", "module", "kind"),
    notes=(
        "Derived from `sample`, `stack` and `frame` by the store when it adds a capture; adapters do not emit it. "
        "Functions that no sample runs through have no row."
    ),
)

MEMORY_ACCESS = Table(
    "memory_access",
    "what a sample says of the memory it touched, beside its row in `sample`",
    (
        _ts("when"),
        _utid("thread that ran"),
        _CPU,
        _stack("stack of the sample"),
        Column("metric_id", _ID, "event that was sampled", join="metric.metric_id", required=True),
        Column("address", _ADDRESS, "data address", unit="address"),
        Column("physical_address", _ADDRESS, "physical data address", unit="address"),
        Column("data_page_size", _ADDRESS, "page size of the data address", unit="byte"),
        Column("code_page_size", _ADDRESS, "page size of the instruction pointer", unit="byte"),
        Column("weight", _ADDRESS, "cost the hardware gave the access (usually its latency)", unit="cycle"),
        Column("instruction_latency", _ID, "latency of the whole instruction (WEIGHT_STRUCT var2)", unit="cycle"),
        Column("retire_latency", _ID, "latency to retirement (WEIGHT_STRUCT var3)", unit="cycle"),
        Column("data_source", _ADDRESS, "union perf_mem_data_src as recorded"),
        Column("transaction", _ADDRESS, "hardware transaction abort flags as recorded"),
        Column("cgroup_id", _ADDRESS, "control group id of the sample"),
    ),
)

BRANCH = Table(
    "branch",
    "an entry of a sample's branch stack (last branch records), newest first",
    (
        _ts("when the sample was taken"),
        _utid("thread that ran"),
        _CPU,
        Column("metric_id", _ID, "event that was sampled", join="metric.metric_id", required=True),
        Column("position", _ID, "0 for the newest branch", required=True),
        Column("from_address", _ADDRESS, "virtual address branched from", unit="address", required=True),
        Column("to_address", _ADDRESS, "virtual address branched to", unit="address", required=True),
        Column("mispredicted", pa.bool_(), "whether the target was mispredicted"),
        Column("predicted", pa.bool_(), "whether the target was predicted"),
        Column("in_transaction", pa.bool_(), "whether it branched inside a hardware transaction"),
        Column("aborted", pa.bool_(), "whether it is a transaction abort"),
        Column("cycles", _ID, "cycles since the branch before it; 0 where not measured", unit="cycle"),
        Column("branch_type", _ID, "PERF_BR_* kind of branch"),
    ),
)

SLICE = Table(
    "slice",
    "a span: function call, system call, irq, user span",
    (
        Column("slice_id", _ID, "identifies the span", required=True),
        _ts("when it began", required=True),
        Column("dur", _NS, "how long it took; null when its end was not seen", unit="ns"),
        _utid("thread it ran on"),
        _CPU,
        Column("name", _TEXT, "what it was", required=True),
        Column("category", _TEXT, "kind of span, such as `syscall` or `irq`"),
        Column("parent_id", _ID, "span it nests in", join="slice.slice_id"),
        Column("depth", _ID, "spans it nests in", required=True),
    ),
    key=("slice_id",),
)

SCHED_SLICE = Table(
    "sched_slice",
    "a stretch of one thread running on one CPU",
    (
        _ts("when it was switched in", required=True),
        Column("dur", _NS, "how long it ran; null when it was still running at the end", unit="ns"),
        _CPU,
        _utid("thread that ran", required=True),
        Column("end_state", _TEXT, "state it was left in, such as `R` or `S`"),
        Column("priority", _ID, "kernel priority it ran with"),
    ),
)

THREAD_STATE = Table(
    "thread_state",
    "a stretch of one thread in one state",
    (
        _ts("when it entered the state", required=True),
        Column("dur", _NS, "how long it stayed; null when it was still in it at the end", unit="ns"),
        _CPU,
        _utid("thread", required=True),
        Column("state", _TEXT, "running, runnable, sleeping or blocked", required=True),
        Column("waker_utid", _ID, "thread that woke it", join="thread.utid"),
        _stack("stack it went to sleep in, where recorded"),
    ),
)

COUNTER_TRACK = Table(
    "counter_track",
    "a series of a counter",
    (
        Column("track_id", _ID, "identifies the series", required=True),
        Column("name", _TEXT, "what is counted", required=True),
        Column("unit", _TEXT, "unit of `counter.value`"),
        Column("scope", _TEXT, "what it belongs to: system, cpu, core, socket, node, process, thread, device"),
        Column("device", _TEXT, "socket, node, device or other place it belongs to, as the tool names it"),
        _utid("thread it belongs to"),
        Column("upid", _ID, "process it belongs to", join="process.upid"),
        Column("cpu", _ID, "CPU it belongs to"),
    ),
    key=("track_id",),
)

COUNTER = Table(
    "counter",
    "a point of a counter's series",
    (
        Column("track_id", _ID, "series", join="counter_track.track_id", required=True),
        _ts("when; null where the tool gave one value for the whole run"),
        Column("value", pa.float64(), "value in the track's unit; null where it was not counted or not supported"),
        Column("running_share", pa.float64(), "share of the time the event was really counted (multiplexing)"),
        Column("stddev_percent", pa.float64(), "spread over repeated runs, as perf stat -r gives it", unit="%"),
    ),
)

CALL_EDGE = Table(
    "call_edge",
    "caller to callee with the cost of the calls",
    (
        Column("caller_frame_id", _ID, "frame that calls", join="frame.frame_id", required=True),
        Column("callee_frame_id", _ID, "frame that is called", join="frame.frame_id", required=True),
        Column("metric_id", _ID, "what `value` counts", join="metric.metric_id", required=True),
        Column("call_count", _COUNT, "calls counted"),
        Column("value", pa.int64(), "cost of the calls, callees included", required=True),
        Column(
            "is_recursive",
            pa.bool_(),
            "whether the callee leads back to the caller, so that `value` holds cost of the caller too",
        ),
        Column("address", _ADDRESS, "address of the call in the caller's module, where recorded", unit="address"),
    ),
)

INSTRUCTION_COST = Table(
    "instruction_cost",
    "what a single instruction cost, where the recorder tells instructions apart",
    (
        Column("frame_id", _ID, "function and line it belongs to", join="frame.frame_id", required=True),
        Column("address", _ADDRESS, "its address, as the recorder gives it", unit="address", required=True),
        _utid("thread that ran it"),
        Column("metric_id", _ID, "what `value` counts", join="metric.metric_id", required=True),
        Column("value", pa.int64(), "its own cost", required=True),
    ),
    notes="A finer view of what `sample` holds for the same frames: costs of one address add up.",
)

HISTOGRAM = Table(
    "histogram",
    "a bucket of a histogram",
    (
        Column("name", _TEXT, "histogram it belongs to", required=True),
        Column("key", _TEXT, "key it was kept by, such as a disk or a process"),
        Column("low", pa.float64(), "lower bound, inclusive; null when open"),
        Column("high", pa.float64(), "upper bound, exclusive; null when open"),
        Column("unit", _TEXT, "unit of the bounds"),
        Column("count", _COUNT, "values that fell in the bucket", required=True),
    ),
)

FINDING = Table(
    "finding",
    "an error that a checker reported",
    (
        Column("finding_id", _ID, "identifies the finding", required=True),
        Column("kind", _TEXT, "checker's own name for the kind of error", required=True),
        Column("message", _TEXT, "what it said"),
        _utid("thread it happened on"),
        Column("bytes", _COUNT, "bytes concerned", unit="byte"),
        Column("blocks", _COUNT, "blocks concerned"),
        Column("count", _COUNT, "times it happened", required=True),
    ),
    key=("finding_id",),
)

FINDING_STACK = Table(
    "finding_stack",
    "a stack of a finding, by the role it plays",
    (
        Column("finding_id", _ID, "finding", join="finding.finding_id", required=True),
        Column("role", _TEXT, "what the stack shows: `error`, `allocated`, `freed`, `created` …", required=True),
        Column("stack_id", _ID, "innermost node", join="stack.stack_id", required=True),
        Column("detail", _TEXT, "what the checker said of it"),
    ),
)

CLOCK_SNAPSHOT = Table(
    "clock_snapshot",
    "the same instant on two clocks",
    (
        _ts("the instant in the capture's clock", required=True),
        Column("clock", _TEXT, "the other clock", required=True),
        Column("value", _NS, "the instant on it", unit="ns", required=True),
    ),
)

RECORD_COUNT = Table(
    "record_count",
    "how many records of one type the input holds, as the tool itself counts them",
    (
        Column("record", _TEXT, "the tool's name of the record type, such as `SAMPLE` or `MMAP2`", required=True),
        Column("metric_id", _ID, "event the records belong to, where they belong to one", join="metric.metric_id"),
        Column("count", _COUNT, "records", required=True),
    ),
)

IMPORT_ISSUE = Table(
    "import_issue",
    "why not to trust a capture blindly",
    (
        Column("code", _TEXT, "stable short name of the problem, such as `lost_samples`", required=True),
        Column("severity", _TEXT, f"one of {', '.join(SEVERITIES)}", required=True),
        Column("offset", _COUNT, "where in the input the first of them lies", unit="byte"),
        Column("count", _COUNT, "how many", required=True),
        Column("detail", _TEXT, "what was expected, what was found, what it means for the numbers"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        CAPTURE,
        RUN,
        PROCESS,
        THREAD,
        THREAD_NAME,
        MAPPING,
        FRAME,
        STACK,
        METRIC,
        SAMPLE,
        FUNCTION_WEIGHT,
        MEMORY_ACCESS,
        BRANCH,
        SLICE,
        SCHED_SLICE,
        THREAD_STATE,
        COUNTER_TRACK,
        COUNTER,
        CALL_EDGE,
        INSTRUCTION_COST,
        HISTOGRAM,
        FINDING,
        FINDING_STACK,
        CLOCK_SNAPSHOT,
        RECORD_COUNT,
        IMPORT_ISSUE,
    )
}

EVENT_PREFIX = "event."
EVENT_COLUMNS: tuple[Column, ...] = (
    _ts("when"),
    _CPU,
    _utid("thread that was running"),
    _stack("stack recorded with the event"),
)
"""Columns that every `event.<name>` table starts with; its own payload columns follow, typed by the capture."""


def is_event_table(name: str) -> bool:
    """Whether `name` is one of the tables that captures bring along (`event.sched_switch` …)."""
    return name.startswith(EVENT_PREFIX) and len(name) > len(EVENT_PREFIX)
