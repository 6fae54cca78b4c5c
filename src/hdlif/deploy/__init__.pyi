from hdlif.deploy.lowering import lowers as lowers
from hdlif.deploy.mem_bn_folding import FoldedNeuron as FoldedNeuron
from hdlif.deploy.mem_bn_folding import fold_mem_bn as fold_mem_bn
from hdlif.deploy.mem_bn_folding import fold_mem_bn_on_current as fold_mem_bn_on_current
from hdlif.deploy.network import export as export
from hdlif.deploy.network import fold as fold
from hdlif.deploy.network import lower as lower
from hdlif.deploy.to_torch import GraphModule as GraphModule
