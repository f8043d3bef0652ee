// Where images come in: dropped, pasted, chosen or photographed.
import { canStream, closeCamera, openCamera, shoot } from "./camera.js";
import { announce, button, make } from "./dom.js";
import { say } from "./texts.js";
import { opened } from "./tabs.js";

const intakes = new Map(); // by the tab that they stand in

const filesOf = (transfer) => [...transfer.files].filter((file) => file.size || file.type);

const chooser = (onFiles, attributes) => {
  const input = make("input", { type: "file", accept: "image/*,.tif,.tiff,.bmp", hidden: true, ...attributes });
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  return input;
};

const cameraParts = (onFiles, stage) => {
  const video = make("video", { playsinline: true, muted: true, hidden: true, label: ["intake.preview"] });
  video.muted = true;
  const shutter = button("intake.shutter", () => take(), { class: "shutter", hidden: true });
  const closing = button("intake.close", () => live(false), { hidden: true });
  const opening = button("intake.camera", () => begin(), { class: "open-camera" });
  const snapshot = chooser(onFiles, { capture: "environment" });
  const trouble = make("p", { class: "trouble", role: "status" });

  const live = (on) => {
    if (!on) closeCamera(video);
    stage.classList.toggle("live", on);
    video.hidden = shutter.hidden = closing.hidden = !on;
    opening.hidden = on;
    (on ? shutter : opening).focus();
  };
  const begin = async () => {
    trouble.textContent = "";
    if (!canStream()) return snapshot.click();
    try {
      await openCamera(video);
      live(true);
    } catch (error) {
      say(trouble, error.name === "NotAllowedError" ? "intake.forbidden" : "intake.nocamera");
      announce(error.name === "NotAllowedError" ? "intake.forbidden" : "intake.nocamera");
    }
  };
  const take = async () => {
    if (video.videoWidth) onFiles([await shoot(video)]);
  };
  const leave = () => video.srcObject && live(false);
  return { video, buttons: [opening, shutter, closing], others: [snapshot, trouble], leave };
};

export const createIntake = (root, tab, onFiles) => {
  const taken = (files) => files.length && onFiles(files);
  const shown = make("img", { class: "shown", hidden: true, alt: "" });
  const prompt = make("p", { class: "prompt", say: ["intake.prompt"] });
  const stage = make("div", { class: "stage" }, prompt, shown);
  const camera = cameraParts(taken, stage);
  stage.append(camera.video);
  const files = chooser(taken, { multiple: true, label: ["intake.choose"] });
  const choosing = button("intake.choose", () => files.click(), { class: "primary" });
  root.append(stage, make("div", { class: "actions" }, choosing, camera.buttons), files, ...camera.others);
  stage.addEventListener("click", (event) => event.target !== camera.video && files.click());
  intakes.set(tab, { stage, taken, leave: camera.leave });
  return {
    // Show an image in the stage; null puts the prompt back.
    show: (url, name = "") => {
      shown.hidden = url === null;
      prompt.hidden = url !== null;
      if (url !== null) {
        shown.src = url;
        shown.alt = name;
      } else shown.removeAttribute("src");
    },
  };
};

const here = () => intakes.get(opened());

// A file that misses the frame would open in the page's place, so the whole page takes what is dropped.
export const startIntakes = () => {
  const mark = (on) => here()?.stage.classList.toggle("over", on);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    here()?.taken(filesOf(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData);
    if (!files.length) return; // text goes where it was meant to
    event.preventDefault();
    here()?.taken(files);
  });
  document.addEventListener("mitsugo:tab", () => {
    for (const [tab, intake] of intakes) if (tab !== opened()) intake.leave();
  });
};
