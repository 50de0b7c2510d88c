"""One namespace across on-premises OpenStack Swift and public clouds."""

__version__ = '2.0.0.dev0'
