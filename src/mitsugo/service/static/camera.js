// A live camera where the browser lends one: only on https or on this very machine.
export const canStream = () => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

const WIDE = { width: { ideal: 1920 }, height: { ideal: 1440 } };

export const openCamera = async (video) => {
  const wanted = { video: { facingMode: { ideal: "environment" }, ...WIDE }, audio: false };
  video.srcObject = await navigator.mediaDevices.getUserMedia(wanted);
  await video.play();
};

export const closeCamera = (video) => {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
};

const stamp = () => new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").replace(".", "-").slice(0, 19);

// PNG, as a lossy picture would not be the one that the camera saw.
export const shoot = async (video) => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return new File([blob], `photo-${stamp()}.png`, { type: "image/png" });
};
