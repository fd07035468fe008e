# What the Cap'n Proto peer serves: MessagePack, or plain bytes, in its data fields.
@0xb8d3f4a51c2e6a07;

interface Echo {
  echo @0 (value :Data) -> (value :Data);
  nap @1 (seconds :Float64) -> ();
}
