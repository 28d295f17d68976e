// Managed by Ollama Fleet; changes here are undone by the next deploy.
// How many tokens went in and came out, out of the end of a response; it goes to the client as it comes.

// Counts stand in the last few hundred bytes, in every API.
const TAIL = 2048;
const COUNTS = {
    fleet_tokens_in: /"(?:prompt_eval_count|prompt_tokens|input_tokens)": ?(\d+)/g,
    fleet_tokens_out: /"(?:eval_count|completion_tokens|output_tokens)": ?(\d+)/g,
};

let tail = '';

function count(r, data, flags) {
    r.sendBuffer(data, flags);
    try {
        if (data.length) {
            tail = (tail + data.slice(-TAIL).toString()).slice(-TAIL);
        }
        if (flags.last) {
            note(r);
        }
    } catch (e) {
        r.variables.fleet_fault = 'tokens: ' + e.name;
    }
}

// The last number of each kind: a stream may say the counts so far more than once.
function note(r) {
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
