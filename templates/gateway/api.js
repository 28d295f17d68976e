// Managed by Ollama Fleet; changes here are undone by the next deploy.
// What the gateway offers: its paths, models' names as Ollama takes them, and errors in each API's own shape.

// Path to method to what it is. Nothing else is ever sent on, and nothing of a client's path.
const LOOKS = {GET: 'look', HEAD: 'look'};
const WORK = {POST: 'work'};
const PATHS = {
    '/': LOOKS,
    '/api/version': LOOKS,
    '/api/tags': LOOKS,
    '/api/ps': LOOKS,
    '/v1/models': LOOKS,
    '/v1/models/': LOOKS,
    '/api/generate': WORK,
    '/api/chat': WORK,
    '/api/embed': WORK,
    '/api/embeddings': WORK,
    '/api/show': WORK,
    '/v1/chat/completions': WORK,
    '/v1/completions': WORK,
    '/v1/embeddings': WORK,
    '/v1/responses': WORK,
    '/v1/messages': WORK,
};
// What changes a server, or speaks for it to others: said to be closed, so that nobody looks for a mistake.
const CLOSED = /^\/api\/(?:pull|push|create|copy|delete|blobs|me|signout|experimental|user)(?:\/|$)/;

// Not `$`: in njs it lets a line break follow.
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:[\/:@][A-Za-z0-9][A-Za-z0-9._-]*)*(?![\s\S])/;
const BY_MODEL = /^\/model\/([^\/].*?)(\/(?:api|v1)\/.*|\/)?$/;
const BY_SLICE = /^\/slice\/([A-Za-z0-9][A-Za-z0-9.-]*)\/([A-Za-z0-9-]+)(\/.*)?$/;
const ONE_MODEL = /^\/v1\/models\/(.+)$/;

const TYPES = {
    openai: {400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error',
             404: 'not_found_error', 405: 'invalid_request_error', 413: 'invalid_request_error',
             429: 'rate_limit_error'},
    anthropic: {400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error',
                404: 'not_found_error', 405: 'invalid_request_error', 413: 'request_too_large',
                429: 'rate_limit_error', 503: 'overloaded_error'},
};

// Which path of the API a request means: {path, model, slice}, whatever stands before it.
function address(target) {
    const raw = (target || '').split('?')[0];
    let match = BY_MODEL.exec(raw);
    if (match) {
        return finish(match[2] || '/', {model: name_in_path(match[1])});
    }
    match = BY_SLICE.exec(raw);
    if (match) {
        return finish(match[3] || '/', {slice: match[1].toLowerCase() + '.' + match[2].toLowerCase()});
    }
    return finish(raw, {});
}

function finish(path, found) {
    const match = ONE_MODEL.exec(path);
    found.one = match ? name_in_path(match[1]) : undefined;
    found.path = match ? '/v1/models/' : path;
    return found;
}

// Clients write `:` and `/` of a name encoded or plain; nothing else of it may be encoded.
function name_in_path(text) {
    return text.replace(/%3a/gi, ':').replace(/%2f/gi, '/');
}

// The name under which the gateway knows a model: as Ollama, it takes capitals as small letters, and its own
// registry, `library` and `latest` as said. Empty where it can be no model's name.
function canonical(name) {
    if (name.length > 256 || !NAME.test(name)) {
        return '';
    }
    let found = name.toLowerCase().replace(/^registry\.ollama\.ai\//, '').replace(/^library\//, '');
    return /:[^\/]*$/.test(found) ? found : found + ':latest';
}

function family(target) {
    const path = address(target).path;
    if (path.indexOf('/v1/messages') === 0) {
        return 'anthropic';
    }
    return path.indexOf('/v1/') === 0 || path === '/v1' ? 'openai' : 'ollama';
}

// An error as the API that was called writes it.
function error(target, status, message, code) {
    const kind = family(target);
    if (kind === 'ollama') {
        return JSON.stringify({error: message});
    }
    const type = TYPES[kind][status] || 'api_error';
    if (kind === 'anthropic') {
        return JSON.stringify({type: 'error', error: {type: type, message: message}});
    }
    return JSON.stringify({error: {message: message, type: type, param: null, code: code || null}});
}

// What is wrong with method and path, as [status, message]; null where they are fine.
function wrong(method, found) {
    const methods = Object.prototype.hasOwnProperty.call(PATHS, found.path) ? PATHS[found.path] : null;
    if (!methods) {
        return CLOSED.test(found.path)
            ? [403, 'this gateway does not offer ' + found.path.split('/').slice(0, 3).join('/')]
            : [404, 'this gateway has no such path'];
    }
    if (!methods[method]) {
        return [405, 'this path takes ' + Object.keys(methods).join(' and ')];
    }
    const name = found.model === undefined ? found.one : found.model;
    if (name !== undefined && !canonical(name)) {
        return [400, "the path has no model's name where one must be"];
    }
    return null;
}

export default {address, canonical, error, wrong, PATHS};
