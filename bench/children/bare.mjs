// A Node that does nothing: what start-up is compared with. The clock counts from the start of the process.
process.stdout.write(JSON.stringify({ endMs: performance.now() }));
