// The page: inspect, look at the map, teach, and read the log, all by the service's own answers.
import { startInspect } from "./inspect.js";
import { startIntakes } from "./intake.js";
import { startLog } from "./log.js";
import { startMap } from "./map.js";
import { startSession } from "./session.js";
import { startTabs } from "./tabs.js";
import { startTeach } from "./teach.js";
import { startTexts } from "./texts.js";

const WHO = "mitsugo.who";

const startWho = () => {
  const field = document.getElementById("who");
  try {
    field.value = localStorage.getItem(WHO) ?? "";
    field.addEventListener("change", () => localStorage.setItem(WHO, field.value.trim()));
  } catch {
    // storage is forbidden: the name holds for this visit
  }
};

await startTexts();
startTabs();
startIntakes();
startInspect();
startTeach();
startMap();
startLog();
startWho();
document.body.hidden = false;
document.body.dataset.ready = "yes";
await startSession();
