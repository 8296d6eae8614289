import CLI

await Vagus.start()
