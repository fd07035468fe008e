"""An error that server and client both know: registered, it arrives as what it is, with its attributes."""

import gpyro


@gpyro.register
class PaperJam(Exception):
    def __init__(self, tray):
        super().__init__(f"paper jam in tray {tray}")
        self.tray = tray
