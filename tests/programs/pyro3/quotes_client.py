"""The seed's client as a program for Pyro 3."""

import sys

import Pyro.core
import Pyro.naming

Pyro.core.initClient()
ns = Pyro.naming.NameServerLocator().getNS()
uri = ns.resolve("our_object")
uri2 = "PYRONAME://:Default.our_object"
uri3 = "PYROLOC://localhost:%d/our_object" % int(sys.argv[1])
for where in (uri, uri2, uri3):
    obj = Pyro.core.getProxyForURI(where)
    print(obj.getName(), obj.answerQuestion("What is the meaning of life?"))
print(Pyro.core.DynamicProxy(uri).getName(), uri.getProxy().getName())
att = Pyro.core.getAttrProxyForURI(uri)
att.sum = att.sum + 1
other = uri.getAttrProxy()
other.sum = other.sum + 1
print("sum", Pyro.core.DynamicProxyWithAttrs(uri).sum)
print(Pyro.core.getProxyForURI("PYRONAME://:Test.simple.object1").hello("world"))
print(Pyro.core.getProxyForURI(sys.argv[2]).hello("transient"))
print("names", [name for name, _ in ns.flatlist()])
try:
    ns.resolve("nobody")
except Pyro.errors.NamingError as x:
    print("resolve:", isinstance(x, Pyro.core.PyroError))
try:
    obj.answerQuestion()
except TypeError as x:
    print("remote:", bool(getattr(x, Pyro.constants.TRACEBACK_ATTRIBUTE, None)), Pyro.config.PYRO_TRACELEVEL)
