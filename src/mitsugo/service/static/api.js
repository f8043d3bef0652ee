// The service's answers, and one shape for everything that can go wrong.
const PATIENCE = 120_000; // milliseconds: longer than any answer takes that will still come

export class Problem extends Error {
  constructor({ status, detail = "", request = "", wait = 0 }) {
    super(detail);
    Object.assign(this, { status, detail, request, wait });
  }
}

// Let others know which model and revision answered, as each answer says so.
const heard = (answer) => {
  if (typeof answer.revision === "number") document.dispatchEvent(new CustomEvent("mitsugo:answer", { detail: answer }));
  return answer;
};

const problemOf = async (response) => {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // an answer of a proxy before the service, which is not in our shape
  }
  return new Problem({
    status: response.status,
    detail: typeof told.detail === "string" ? told.detail : "",
    request: told.request_id ?? response.headers.get("X-Request-ID") ?? "",
    wait: Number(response.headers.get("Retry-After")) || 0,
  });
};

const call = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, { ...options, redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Problem({ status: 0 });
  }
  if (!response.ok) throw await problemOf(response);
  try {
    return heard(await response.json());
  } catch {
    throw new Problem({ status: 0 });
  }
};

const unsafe = (method, body, key, headers = {}) => ({
  method,
  body,
  headers: { "X-Requested-With": "mitsugo", ...(key ? { "Idempotency-Key": key } : {}), ...headers },
});

const form = (files, fields = {}) => {
  const body = new FormData();
  for (const file of files) body.append("image", file, file.name);
  for (const [name, value] of Object.entries(fields)) body.append(name, String(value));
  return body;
};

const json = (method, path, value, key) =>
  call(path, unsafe(method, JSON.stringify(value), key, { "Content-Type": "application/json" }));

// crypto.randomUUID is there on https and localhost alone, but a factory's own network may have neither.
export const newKey = () => {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};

export const api = {
  classify: (file) => call("/v1/classify", unsafe("POST", form([file]))),
  gallery: () => call("/v1/gallery"),
  teach: (files, fields, key) => call("/v1/gallery", unsafe("POST", form(files, fields), key)),
  remove: (what, key) => json("DELETE", "/v1/gallery", what, key),
  undo: (batch, key) => json("POST", "/v1/gallery/undo", { batch }, key),
  feedback: (file, fields, key) => call("/v1/feedback", unsafe("POST", form([file], fields), key)),
  map: () => call("/v1/map"),
  place: (file) => call("/v1/map", unsafe("POST", form([file]))),
  log: (limit) => call(`/v1/log?limit=${limit}`),
  counts: () => call("/v1/counts"),
  model: () => call("/v1/model"),
};

export const pictureOf = (row, revision) => `/v1/pictures/${Number(row)}?revision=${Number(revision)}`;
