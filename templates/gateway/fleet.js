// Managed by Ollama Fleet; changes here are undone by the next deploy.
// What the fleet is, as nginx.conf's maps say it, and what its slices say of themselves, put together.
//
// Maps: `$fleet_target`, by `$fleet_wanted`: MODEL, or SLICE MODEL, to POOL MODEL; "slice SLICE" to its pool.
// `$fleet_item`, by `$fleet_nth`: "pool N" to POOL MODEL; "slice N" to its pool; nothing after the last.

import api from 'api.js';

// So many slices are asked at a time, and nobody anymore when so much time is over.
const LANES = 32;
const PATIENCE_MS = 5000;
const NAMED = 100;

function wanted(r, key) {
    r.variables.fleet_wanted = key;
    return r.variables.fleet_target;
}

// All pools of models, or all slices, as [pool, model].
function items(r, kind) {
    const found = [];
    for (;;) {
        r.variables.fleet_nth = kind + ' ' + found.length;
        const item = r.variables.fleet_item;
        if (!item) {
            return found;
        }
        found.push(item.split(' '));
    }
}

function may(r, model) {
    const models = r.variables.fleet_key_models;
    return models === '*' || models.toLowerCase().split(' ').indexOf(model.toLowerCase()) >= 0;
}

// Where requests for a model go, {pool, model}; thrown where nobody serves it or the key may not use it.
function target(r, name, slice) {
    const key = api.canonical(name);
    if (slice !== undefined && !wanted(r, 'slice ' + slice)) {
        throw {status: 404, message: "slice '" + slice + "' not found"};
    }
    const found = key && wanted(r, slice === undefined ? key : slice + ' ' + key);
    if (!found) {
        throw {status: 404, code: 'model_not_found', message: not_found(r, name, slice)};
    }
    const parts = found.split(' ');
    if (!may(r, parts[1])) {
        const who = r.variables.fleet_key_name;
        throw {status: 403, message: "the key '" + who + "' may not use the model '" + parts[1] + "'"};
    }
    return {pool: parts[0], model: parts[1]};
}

function not_found(r, name, slice) {
    const has = items(r, 'pool').map((item) => item[1]).filter((model) => may(r, model))
        .filter((model) => slice === undefined || wanted(r, slice + ' ' + api.canonical(model)));
    const more = has.length > NAMED ? ', and ' + (has.length - NAMED) + ' more' : '';
    const where = slice === undefined ? 'this fleet has ' : "slice '" + slice + "' has ";
    return "model '" + name + "' not found; " + where + (has.slice(0, NAMED).join(', ') || 'none for this key') + more;
}

async function ask(r, path, pool) {
    const reply = await r.subrequest('/-fleet' + path, {method: 'GET', args: 'pool=' + pool});
    if (reply.status !== 200) {
        return null;
    }
    try {
        return JSON.parse(reply.responseText);
    } catch (e) {
        return null;
    }
}

// What each of the pools answers; null for those that do not.
async function ask_all(r, path, pools) {
    const answers = pools.map(() => null);
    const until = Date.now() + PATIENCE_MS;
    let next = 0;
    const lane = async () => {
        while (next < pools.length && Date.now() < until) {
            const mine = next++;
            answers[mine] = await ask(r, path, pools[mine]);
        }
    };
    const lanes = [];
    while (lanes.length < Math.min(LANES, pools.length)) {
        lanes.push(lane());
    }
    await Promise.all(lanes);
    return answers;
}

// Models of a tags or ps answer that requests can be sent to, with the name under which they are.
function routable(r, answer, slice) {
    const models = answer && Array.isArray(answer.models) ? answer.models : [];
    return models.filter((model) => {
        // A slice may say anything.
        if (!model || typeof model.name !== 'string') {
            return false;
        }
        const name = api.canonical(model.name);
        const found = name && wanted(r, slice === undefined ? name : slice + ' ' + name);
        return found && may(r, found.split(' ')[1]);
    });
}

// One model's entry of each pool's answer; with a slice, all that it has.
async function tags(r, found) {
    if (found.slice !== undefined) {
        const answers = await ask_all(r, '/api/tags', [wanted(r, 'slice ' + found.slice)]);
        return routable(r, answers[0], found.slice);
    }
    const name = found.model === undefined ? found.one : found.model;
    const one = name === undefined ? null : target(r, name);
    const pools = one ? [[one.pool, one.model]] : items(r, 'pool').filter((pool) => may(r, pool[1]));
    const answers = await ask_all(r, '/api/tags', pools.map((pool) => pool[0]));
    const models = [];
    pools.forEach((pool, i) => {
        const key = api.canonical(pool[1]);
        const its = routable(r, answers[i]).filter((model) => api.canonical(String(model.name)) === key);
        its.slice(0, 1).forEach((model) => models.push(model));
    });
    return models;
}

// Every slice's loaded models, one after the other: a model that several have is there several times.
async function loaded(r, found) {
    const pools = found.slice === undefined
        ? items(r, 'slice').map((item) => item[0])
        : [wanted(r, 'slice ' + found.slice)];
    const key = found.model === undefined ? null : api.canonical(target(r, found.model).model);
    const answers = await ask_all(r, '/api/ps', pools);
    const models = [];
    answers.forEach((answer, i) => {
        routable(r, answer, pools[i].slice('slice.'.length))
            .filter((model) => key === null || api.canonical(String(model.name)) === key)
            .forEach((model) => models.push(model));
    });
    return models;
}

// The lowest of the versions that answer: what all of the fleet has.
async function version(r, found) {
    const pools = found.slice === undefined
        ? items(r, 'pool').map((item) => item[0])
        : [wanted(r, 'slice ' + found.slice)];
    const answers = await ask_all(r, '/api/version', pools);
    const said = answers
        .filter((answer) => answer && typeof answer.version === 'string')
        .map((answer) => answer.version)
        .sort(by_number);
    if (!said.length) {
        throw {status: 503, message: 'no slice of the fleet answers'};
    }
    return {version: said[0]};
}

function by_number(one, other) {
    const a = one.split(/[^0-9]+/);
    const b = other.split(/[^0-9]+/);
    for (let i = 0; i < 3; i++) {
        const difference = Number(a[i] || 0) - Number(b[i] || 0);
        if (difference) {
            return difference;
        }
    }
    return one < other ? -1 : 1;
}

// A model as OpenAI's API lists it, the way Ollama does.
function card(model) {
    const name = String(model.name);
    const parts = name.split('/');
    return {
        id: name,
        object: 'model',
        created: Math.floor(Date.parse(String(model.modified_at).replace(/\.\d+/, '')) / 1000) || 0,
        owned_by: parts.length > 1 ? parts[parts.length - 2] : 'library',
    };
}

// GET of any path: for the whole fleet, or for what the path names.
async function look(r, found, answer) {
    if (found.path === '/') {
        r.headersOut['Content-Type'] = 'text/plain; charset=utf-8';
        r.return(200, 'Ollama is running');
        return;
    }
    if (found.slice !== undefined && !wanted(r, 'slice ' + found.slice)) {
        throw {status: 404, message: "slice '" + found.slice + "' not found"};
    }
    const text = await said(r, found);
    answer(r, 200, JSON.stringify(text));
}

async function said(r, found) {
    if (found.path === '/api/version') {
        return version(r, found);
    }
    if (found.one !== undefined) {
        return one_card(r, found);
    }
    const models = found.path === '/api/ps' ? await loaded(r, found) : await tags(r, found);
    return found.path === '/v1/models' ? {object: 'list', data: models.map(card)} : {models: models};
}

async function one_card(r, found) {
    const wants = target(r, found.one, found.slice);
    const key = api.canonical(wants.model);
    if (found.model !== undefined && api.canonical(found.model) !== key) {
        throw {status: 400, message: 'the path names two models'};
    }
    const models = await tags(r, found);
    const here = models.filter((model) => api.canonical(String(model.name)) === key);
    if (!here.length) {
        throw {status: 503, message: "no slice of model '" + wants.model + "' answers"};
    }
    return card(here[0]);
}

export default {target, look};
