"""The seed's client: three ways to an address, calls, attributes."""

import sys

import gpyro
import gpyro.naming

daemon_port = sys.argv[1]

gpyro.initClient()
ns = gpyro.naming.NameServerLocator().getNS()
uri = ns.resolve("our_object")
uri2 = "PYRONAME://:Default.our_object"
uri3 = f"PYROLOC://localhost:{daemon_port}/our_object"
for where in (uri, uri2, uri3):
    obj = gpyro.getProxyForURI(where)
    print(obj.getName(), obj.answerQuestion("What is the meaning of life?"))
print(gpyro.Proxy(uri).getName(), uri.getProxy().getName())
att = gpyro.getAttrProxyForURI(uri)
att.sum = att.sum + 1
other = uri.getAttrProxy()
other.sum = other.sum + 1
print("sum", gpyro.AttrProxy(uri).sum)
print(gpyro.Proxy("PYRONAME://:Test.simple.object1").hello("world"))
print(gpyro.Proxy(sys.argv[2]).hello("transient"))
print("names", [name for name, _ in ns.flatlist()])
