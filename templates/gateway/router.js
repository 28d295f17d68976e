// Managed by Ollama Fleet; changes here are undone by the next deploy.
// Where a request goes. `gate` sees method, path and key, before a byte of the body is read; `route` sees the
// model, and hands the request on to the balancer. Only what is in nginx.conf's maps can come of it.

import crypto from 'crypto';
import fs from 'fs';
import api from 'api.js';
import body from 'body.js';
import fleet from 'fleet.js';

function presented_key(r) {
    const bearer = /^Bearer +(\S+)$/i.exec(r.headersIn['Authorization'] || '');
    return bearer ? bearer[1] : r.headersIn['x-api-key'] || '';
}

// Keys are kept as hashes, and looked up by them: the time that it takes tells nothing about a key.
function key_hash(r) {
    const key = presented_key(r);
    return key ? crypto.createHash('sha256').update(key).digest('hex') : '';
}

// The status with which a request is refused as it stands, or '-'.
function gate(r) {
    try {
        return refused(r);
    } catch (e) {
        return fault(r, e);
    }
}

function refused(r) {
    const found = api.address(r.variables.request_uri);
    const wrong = api.wrong(r.method, found);
    // Whether it runs may be asked by anybody: clients do before they send a key, and so do probes.
    if (!wrong && found.path === '/' && !has_body(r)) {
        return '-';
    }
    const stranger = r.variables.fleet_needs_key === '1' ? stranger_of(r) : null;
    const why = malformed(r) || stranger || wrong;
    r.variables.fleet_path = wrong ? '' : found.path;
    if (!why) {
        return '-';
    }
    r.variables.fleet_refusal = api.error(r.variables.request_uri, why[0], why[1]);
    return String(why[0]);
}

function has_body(r) {
    return Number(r.headersIn['Content-Length'] || 0) > 0 || r.headersIn['Transfer-Encoding'] !== undefined;
}

function malformed(r) {
    if (r.httpVersion !== '1.0' && r.httpVersion !== '1.1') {
        return [400, 'this gateway speaks HTTP/1.1'];
    }
    return (r.method === 'GET' || r.method === 'HEAD') && has_body(r)
        ? [400, r.method + ' takes no body']
        : null;
}

function stranger_of(r) {
    const name = r.variables.fleet_key_name;
    if (!name) {
        return [401, 'this gateway needs a valid API key, as "Authorization: Bearer KEY"'];
    }
    const ends = r.variables.fleet_key_expires;
    return ends && Number(ends) * 1000 <= Date.now() ? [403, "the key '" + name + "' has expired"] : null;
}

// For the access log: what went wrong in here. Nothing of a request is in it.
function fault(r, e) {
    r.variables.fleet_fault = String(e.name + ': ' + e.message).slice(0, 200);
    r.variables.fleet_refusal = api.error('', 500, 'the gateway failed');
    return '500';
}

// The text for what nginx or the balancer refuses: `$fleet_code` is set where it ends.
function error_text(r) {
    const status = Number(r.variables.fleet_code);
    const known = {
        400: 'this is no request that the gateway understands',
        408: 'the request took too long to come',
        413: 'the request is larger than the ' + r.variables.fleet_max_body + ' that this gateway takes',
        414: 'the path is too long',
        429: 'too many requests with this key; try again later',
        431: 'the headers are too large',
        502: 'the slice broke off',
        503: 'all slices of this model are busy or away; try again later',
        504: 'the slice took too long',
    };
    return api.error(r.variables.request_uri, status, known[status] || 'the gateway failed');
}

function answer(r, status, text) {
    r.headersOut['Content-Type'] = 'application/json; charset=utf-8';
    r.return(status, text);
}

function route(r) {
    const found = api.address(r.variables.request_uri);
    const end = (e) => {
        if (e.status) {
            answer(r, e.status, api.error(r.variables.request_uri, e.status, e.message, e.code));
        } else {
            const status = fault(r, e);
            answer(r, Number(status), r.variables.fleet_refusal);
        }
    };
    try {
        if (api.PATHS[found.path].POST) {
            work(r, found);
        } else {
            fleet.look(r, found, answer).catch(end);
        }
    } catch (e) {
        end(e);
    }
}

function work(r, found) {
    const asked = body.read(body_text(r));
    if (found.model !== undefined && asked.model !== undefined
        && api.canonical(found.model) !== api.canonical(asked.model)) {
        body.refuse('path and body name different models');
    }
    const model = asked.model === undefined ? found.model : asked.model;
    if (model === undefined) {
        body.refuse('"model" is missing');
    }
    const target = fleet.target(r, model, found.slice);
    const text = asked.rewritten(target.model);
    r.variables.fleet_pool = target.pool;
    r.variables.fleet_model = target.model;
    if (text === null) {
        r.internalRedirect('@balancer');
    } else {
        r.variables.fleet_body = text;
        r.internalRedirect('@balancer_rewritten');
    }
}

// The slice that the balancer chose was gone, and never saw the request. In a moment the balancer knows, too,
// and the request waits its turn for another; nginx allows so many redirections of one request.
const TRIES = 4, PAUSE_MS = 700;

function again(r) {
    const tries = Number(r.variables.fleet_tries) + 1;
    if (tries > TRIES) {
        r.variables.fleet_code = '503';
        answer(r, 503, error_text(r));
        return;
    }
    r.variables.fleet_tries = String(tries);
    const to = r.variables.fleet_body ? '@balancer_rewritten' : '@balancer';
    setTimeout(() => r.internalRedirect(to), PAUSE_MS);
}

// Where a body came in pieces it may be in a file, in memory (the folder is on tmpfs).
function body_text(r) {
    const file = r.variables.request_body_file;
    return file ? fs.readFileSync(file, 'utf8') : r.requestText || '';
}

export default {key_hash, gate, error_text, route, again};
