"""The parts of `gpyro xnsc`.

`model` is what is known of the names, and `worker` the threads that talk to the name server; neither knows of Tk.
`window`, `actions`, `views`, `dialogs` and `style` are Tk, and wait for nothing.
"""
