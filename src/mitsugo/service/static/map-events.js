// What regl-scatterplot asks of pub-sub-es: its built file is a module, which a frame without an origin cannot load.
globalThis.createPubSub = () => {
  const heard = new Map();
  const of = (event) => heard.get(event) ?? heard.set(event, new Set()).get(event);
  return {
    subscribe: (event, handler) => {
      of(event).add(handler);
      return { event, handler };
    },
    unsubscribe: (event, handler) => of(event.event ?? event).delete(event.handler ?? handler),
    publish: (event, news) => {
      for (const handler of [...of(event)]) handler(news);
    },
    clear: () => heard.clear(),
  };
};
