"""Reads and sets attributes of a remote object; each time that is a call to the server.

`python examples/attributes/client.py`, while server.py runs.
"""

import gpyro

thermostat = gpyro.AttrProxy("PYRONAME://thermostat")
print("In the", thermostat.room, "it is", thermostat.average(), "degrees.")

thermostat.target = 21.5
print("target:", thermostat.target)
try:
    thermostat.target = 95
except ValueError as exc:
    print("refused:", exc)

# What is read is a copy, so this changes nothing at the server; setting the attribute does.
thermostat.readings.append(100.0)
print("readings:", thermostat.readings)
thermostat.readings = [*thermostat.readings, 22.0]
print("readings:", thermostat.readings)

for name in ("colour", "_target"):
    try:
        getattr(thermostat, name)
    except AttributeError as exc:
        print("not there:", exc)
