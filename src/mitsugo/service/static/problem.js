// What went wrong, and what to do, in the words of the catalogue.
import { announce, button, make } from "./dom.js";

const WORDS = {
  0: ["error.gone", "error.gone.do"],
  400: ["error.400", "error.400.do"],
  401: ["error.401", "error.401.do"],
  403: ["error.403", "error.403.do"],
  404: ["error.404", "error.404.do"],
  409: ["error.409", "error.409.do"],
  413: ["error.413", "error.413.do"],
  415: ["error.415", "error.415.do"],
  422: ["error.422", "error.422.do"],
  429: ["error.429", "error.429.do"],
  503: ["error.503", "error.503.do"],
  507: ["error.507", "error.507.do"],
};
const OTHER = ["error.other", "error.other.do"];

export const whatHappened = (problem) => (WORDS[problem.status] ?? OTHER)[0];

export const problemBox = (problem, again = null) => {
  const [what, todo] = WORDS[problem.status] ?? OTHER;
  announce(what);
  const login = problem.status === 401 && make("a", { class: "button", href: "/", say: ["error.login"] });
  return make(
    "div",
    { class: "problem", role: "alert" },
    make("p", {}, make("strong", { say: [what, { status: problem.status }] })),
    make("p", { say: [todo] }),
    problem.detail && make("p", { class: "small", lang: "en", words: problem.detail }),
    problem.request && make("p", { class: "small", say: ["error.request", { request: problem.request }] }),
    again && button("error.again", again),
    login,
  );
};
