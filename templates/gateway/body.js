// Managed by Ollama Fleet; changes here are undone by the next deploy.
// A request's JSON: which model it is for, and without what no client may say to a slice.
//
// Only the members at the top are looked at, each with one match of a regular expression, so that a prompt or
// an image of 40 MB costs milliseconds; what is kept is kept byte for byte. Ollama itself takes the last of two
// members with one name, and `MODEL` for `model`: what could be read in two ways is refused.

const SPACE = '[ \\t\\r\\n]*+';
const STRING = '"(?:[^"\\\\\\x00-\\x1f]++|\\\\(?:["\\\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"';
const NUMBER = '-?+(?:0|[1-9][0-9]*+)(?:\\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+';
const VALUE = '(?:' + STRING + '|' + NUMBER + '|true|false|null|(?1)|(?2))';
const PAIR = SPACE + STRING + SPACE + ':' + SPACE + VALUE + SPACE;
const OBJECT = '(\\{(?:' + SPACE + '\\}|' + PAIR + '(?:,' + PAIR + ')*+\\}))';
const ITEM = SPACE + VALUE + SPACE;
const ARRAY = '(\\[(?:' + SPACE + '\\]|' + ITEM + '(?:,' + ITEM + ')*+\\]))';

// However a body is made, reading it ends: after so many steps, and so deep (KiB; about a thousand levels).
// Groups: 3 the name, 4 what stands before the value, 5 what stands after it.
function member_of(steps) {
    return new RegExp(
        '(*LIMIT_MATCH=' + steps + ')(*LIMIT_HEAP=2000)(?(DEFINE)' + OBJECT + ARRAY + ')\\G('
            + SPACE + '(' + STRING + ')' + SPACE + ':' + SPACE + ')' + VALUE + '(' + SPACE + '[,}])\\K', 'g');
}
const SMALL = member_of(20000);
const LARGE = member_of(5000000);
// A tenth of a second each, in which nobody else's answer goes on: messages, tools, images and a few more.
const MAX_LARGE = 8;
const OPENING = /^[ \t\r\n]*\{/;
const NOTHING = /^[ \t\r\n]*\}/;

const MAX_MEMBERS = 200;
const MAX_NAME = 256;

// What samples a token. All others decide how a model is loaded: one request would make the slice load it anew.
const OPTIONS = [
    'num_keep', 'seed', 'num_predict', 'top_k', 'top_p', 'min_p', 'tfs_z', 'typical_p', 'repeat_last_n',
    'temperature', 'repeat_penalty', 'presence_penalty', 'frequency_penalty', 'mirostat', 'mirostat_tau',
    'mirostat_eta', 'penalize_newline', 'stop',
];

function refuse(message) {
    throw {status: 400, message: message};
}

function find(text, at, count) {
    const small = match_at(SMALL, text, at);
    if (small !== undefined) {
        return small;
    }
    count.large++;
    const large = count.large > MAX_LARGE ? undefined : match_at(LARGE, text, at);
    return large === undefined
        ? refuse('the JSON of the request has too many values, or is nested too deep')
        : large;
}

// The member that begins there, and where it ends; null: there is none; undefined: it takes too many steps.
function match_at(pattern, text, at) {
    pattern.lastIndex = at;
    try {
        const match = pattern.exec(text);
        return match && {match: match, end: pattern.lastIndex};
    } catch (e) {
        return undefined;
    }
}

// The members of the object that `text` is: name, its text, and where its value is in that.
function members(text) {
    const opening = OPENING.exec(text);
    if (!opening) {
        refuse('the request must be a JSON object');
    }
    let at = opening[0].length;
    const found = [];
    const count = {large: 0};
    let last = NOTHING.exec(text.slice(at, at + 1000));
    if (last) {
        at += last[0].length;
    }
    while (!last) {
        const next = find(text, at, count);
        if (!next || found.length >= MAX_MEMBERS) {
            refuse(next ? 'the request has too many members' : 'the request is no valid JSON');
        }
        const match = next.match;
        const end = next.end;
        found.push({
            name: name_of(match[4]),
            from: at,
            value: at + match[3].length,
            to: end - match[5].length,
        });
        at = end;
        last = match[5].slice(-1) === '}';
    }
    if (text.slice(at).trim() !== '') {
        refuse('something follows the JSON object of the request');
    }
    return distinct(found);
}

function name_of(quoted) {
    return quoted.length > 1000 ? refuse("the name of a member is too long") : JSON.parse(quoted);
}

function distinct(found) {
    const seen = Object.create(null);
    for (let i = 0; i < found.length; i++) {
        const name = found[i].name;
        const folded = name.toLowerCase();
        if (/[^\x20-\x7e]/.test(name)) {
            refuse('the names of members must be plain ASCII');
        }
        if (seen['=' + folded]) {
            refuse('"' + name + '" is there twice');
        }
        seen['=' + folded] = true;
    }
    return found;
}

function member(found, name) {
    for (let i = 0; i < found.length; i++) {
        if (found[i].name.toLowerCase() === name) {
            return found[i].name === name ? found[i] : refuse('"' + name + '" must be in small letters');
        }
    }
    return null;
}

// A name of a model, as the client writes it; undefined where the member is not there.
function model_name(text, item) {
    if (!item) {
        return undefined;
    }
    const quoted = text.slice(item.value, item.to);
    if (quoted[0] !== '"' || quoted.length > 4 * MAX_NAME) {
        refuse('"' + item.name + '" must be a string, and no longer than ' + MAX_NAME + ' characters');
    }
    const name = JSON.parse(quoted);
    if (name === '' || name.length > MAX_NAME || /[\x00-\x1f\x7f]/.test(name)) {
        refuse('"' + item.name + '" must have 1 to ' + MAX_NAME + ' characters, without control characters');
    }
    return name;
}

// The text of all members but some; what stands together is taken in one piece, for it may be large.
function without(text, found, dropped) {
    const pieces = [];
    let from = -1;
    found.forEach((item, i) => {
        if (dropped.indexOf(item) >= 0) {
            from = -1;
            return;
        }
        from = from < 0 ? item.from : from;
        const next = found[i + 1];
        if (!next || dropped.indexOf(next) >= 0) {
            pieces.push(text.slice(from, item.to));
        }
    });
    return pieces;
}

// One object of these pieces; joined once, so that there is no copy more of it than must be.
function object_of(pieces) {
    const all = [];
    pieces.forEach((piece) => all.push(all.length ? ',' : '{', piece));
    return all.length ? all.concat('}').join('') : '{}';
}

// The options' text without what a slice would load the model anew for; null where nothing is to go.
function plain_options(text, item) {
    const options = text.slice(item.value, item.to);
    if (options[0] !== '{') {
        return null;
    }
    const found = members(options);
    const dropped = found.filter((option) => OPTIONS.indexOf(option.name) < 0);
    return dropped.length ? object_of(without(options, found, dropped)) : null;
}

// What a body says: the model (undefined: nothing), and `rewritten(model)`: the text to send, with that model
// if the body names none; null where it can go as it came.
function read(text) {
    const found = members(text);
    const model = member(found, 'model');
    // The old word for it, which Ollama still takes.
    const old = member(found, 'name');
    const options = member(found, 'options');
    const dropped = [member(found, 'keep_alive'), options].filter((item) => item);
    const kept_options = options && plain_options(text, options);
    if (options && kept_options === null) {
        dropped.pop();
    }
    const said = model_name(text, model);
    const named = said === undefined ? model_name(text, old) : said;
    if (said !== undefined && old && model_name(text, old) !== said) {
        refuse('"model" and "name" are not the same');
    }
    return {
        model: named,
        rewritten: (name) => {
            if (said !== undefined && !dropped.length) {
                return null;
            }
            const parts = without(text, found, dropped);
            if (kept_options) {
                parts.push('"options":' + kept_options);
            }
            if (said === undefined) {
                parts.unshift('"model":' + JSON.stringify(name));
            }
            return object_of(parts);
        },
    };
}

export default {read, refuse, MAX_NAME};
