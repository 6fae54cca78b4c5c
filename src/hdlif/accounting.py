"""Re-export `hdlif.report.accounting`, which computes parameters, operations, energy and memory."""

from hdlif.report.accounting import Activity as Activity
from hdlif.report.accounting import Layer as Layer
from hdlif.report.accounting import Outline as Outline
from hdlif.report.accounting import OutlineLayer as OutlineLayer
from hdlif.report.accounting import Profile as Profile
from hdlif.report.accounting import Saved as Saved
from hdlif.report.accounting import UpdateCost as UpdateCost
from hdlif.report.accounting import activity as activity
from hdlif.report.accounting import bytes_a_step as bytes_a_step
from hdlif.report.accounting import chunk_bytes as chunk_bytes
from hdlif.report.accounting import count_parameters_mb as count_parameters_mb
from hdlif.report.accounting import dense_macs as dense_macs
from hdlif.report.accounting import outline as outline
from hdlif.report.accounting import priced as priced
from hdlif.report.accounting import profile as profile
from hdlif.report.accounting import saved_bytes as saved_bytes
from hdlif.report.accounting import step_counts as step_counts
from hdlif.report.accounting import update_cost as update_cost
from hdlif.report.accounting import watching_saved as watching_saved
