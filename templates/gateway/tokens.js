// Managed by Ollama Fleet; changes here are undone by the next deploy.
// How many tokens went in and came out, out of the end of a response; it goes to the client as it comes.

// Counts stand in the last few hundred bytes, in every API.
const TAIL = 2048;
const COUNTS = {
    fleet_tokens_in: /"(?:prompt_eval_count|prompt_tokens|input_tokens)": ?(\d+)/g,
    fleet_tokens_out: /"(?:eval_count|completion_tokens|output_tokens)": ?(\d+)/g,
};

// The newest bytes, in a ring: what is made for each piece of a long stream stays in memory until its end.
const ring = Buffer.alloc(TAIL);
let at = 0;

function count(r, data, flags) {
    r.sendBuffer(data, flags);
    try {
        keep(data, Math.max(0, data.length - TAIL));
        if (flags.last) {
            note(r, ring.slice(at).toString() + ring.slice(0, at).toString());
        }
    } catch (e) {
        r.variables.fleet_fault = 'tokens: ' + e.name;
    }
}

function keep(data, from) {
    while (from < data.length) {
        const copied = data.copy(ring, at, from, from + Math.min(TAIL - at, data.length - from));
        from += copied;
        at = (at + copied) % TAIL;
    }
}

// The last number of each kind: a stream may say the counts so far more than once.
function note(r, tail) {
    Object.keys(COUNTS).forEach((name) => {
        let last = null;
        for (let match; (match = COUNTS[name].exec(tail)) !== null;) {
            last = match[1];
        }
        if (last !== null) {
            r.variables[name] = last;
        }
    });
}

export default {count};
